#include "engine/access_log.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

static struct access_record full_record(void) {
    return (struct access_record){
        .time_ms = UINT64_C(1769860800123),
        .event = "close",
        .id = 42,
        .worker = 1,
        .listener = "web",
        .client = "10.0.0.9:5000",
        .upstream = "app",
        .server = "one",
        .server_address = "10.0.0.1:80",
        .tries = 2,
        .connect_us = 1234,
        .first_byte_us = 5600,
        .duration_us = 1000000,
        .from_client_bytes = 10,
        .from_server_bytes = 2000,
        .reason = "server_reset",
        .ended_by = "server",
        .error = "Connection reset by peer",
    };
}

static void expect_line(const struct access_record *record, enum config_access_format format, const char *wanted) {
    struct bytes line;
    bytes_init(&line);
    access_record_format(record, format, &line);
    cr_assert_str_eq(line.data, wanted);
    bytes_finish(&line);
}

/* The field of the record's line must be there as wanted, whatever else is. */
static void expect_field(const struct access_record *record, enum config_access_format format, const char *wanted) {
    struct bytes line;
    bytes_init(&line);
    access_record_format(record, format, &line);
    cr_assert_not_null(strstr(line.data, wanted), "no %s in %s", wanted, line.data);
    cr_assert_eq(strchr(line.data, '\n'), line.data + line.size - 1, "not one line: %s", line.data);
    bytes_finish(&line);
}

/* How a text is shown: `error=WANTED` at the end of a line of text. */
static void expect_word(const char *text, const char *wanted) {
    struct access_record record = {.error = text};
    char field[128];
    snprintf(field, sizeof(field), " error=%s\n", wanted);
    expect_field(&record, ACCESS_FORMAT_TEXT, field);
}

/* `"error":WANTED` at the end of a line of JSON. */
static void expect_json(const char *text, const char *wanted) {
    struct access_record record = {.error = text};
    char field[128];
    snprintf(field, sizeof(field), ",\"error\":%s}\n", wanted);
    expect_field(&record, ACCESS_FORMAT_JSON, field);
}

Test(access_log, a_line_of_text_has_every_field, .timeout = 10) {
    struct access_record record = full_record();
    expect_line(
        &record, ACCESS_FORMAT_TEXT,
        "time=2026-01-31T12:00:00.123Z event=close id=42 worker=1 listener=web client=10.0.0.9:5000 upstream=app "
        "server=one server_address=10.0.0.1:80 tries=2 connect_ms=1.234 first_byte_ms=5.600 "
        "duration_ms=1000.000 from_client_bytes=10 from_server_bytes=2000 reason=server_reset "
        "ended_by=server error=\"Connection reset by peer\"\n");
}

Test(access_log, a_line_of_json_has_every_field, .timeout = 10) {
    struct access_record record = full_record();
    expect_line(
        &record, ACCESS_FORMAT_JSON,
        "{\"time\":\"2026-01-31T12:00:00.123Z\",\"event\":\"close\",\"id\":42,\"worker\":1,\"listener\":\"web\","
        "\"client\":\"10.0.0.9:5000\",\"upstream\":\"app\",\"server\":\"one\","
        "\"server_address\":\"10.0.0.1:80\",\"tries\":2,\"connect_ms\":1.234,\"first_byte_ms\":5.600,"
        "\"duration_ms\":1000.000,\"from_client_bytes\":10,\"from_server_bytes\":2000,"
        "\"reason\":\"server_reset\",\"ended_by\":\"server\",\"error\":\"Connection reset by peer\"}\n");
}

Test(access_log, what_there_is_not_is_a_dash_in_text, .timeout = 10) {
    struct access_record record = full_record();
    record.server = record.server_address = record.error = NULL;
    record.connect_us = record.first_byte_us = -1;
    expect_line(
        &record, ACCESS_FORMAT_TEXT,
        "time=2026-01-31T12:00:00.123Z event=close id=42 worker=1 listener=web client=10.0.0.9:5000 upstream=app "
        "server=- server_address=- tries=2 connect_ms=- first_byte_ms=- duration_ms=1000.000 "
        "from_client_bytes=10 from_server_bytes=2000 reason=server_reset ended_by=server error=-\n");
}

Test(access_log, what_there_is_not_is_null_in_json, .timeout = 10) {
    struct access_record record = full_record();
    record.server = record.server_address = record.error = NULL;
    record.connect_us = record.first_byte_us = -1;
    expect_line(
        &record, ACCESS_FORMAT_JSON,
        "{\"time\":\"2026-01-31T12:00:00.123Z\",\"event\":\"close\",\"id\":42,\"worker\":1,\"listener\":\"web\","
        "\"client\":\"10.0.0.9:5000\",\"upstream\":\"app\",\"server\":null,\"server_address\":null,"
        "\"tries\":2,\"connect_ms\":null,\"first_byte_ms\":null,\"duration_ms\":1000.000,"
        "\"from_client_bytes\":10,\"from_server_bytes\":2000,\"reason\":\"server_reset\","
        "\"ended_by\":\"server\",\"error\":null}\n");
}

Test(access_log, tells_of_tcp_what_the_kernel_knows, .timeout = 10) {
    const struct access_tcp tcp = {
        .client_rtt_us = 1500, .client_retransmits = 3, .server_rtt_us = -1, .server_retransmits = -1};
    struct access_record record = full_record();
    record.tcp = &tcp;
    expect_field(&record, ACCESS_FORMAT_TEXT,
                 " client_rtt_ms=1.500 client_retransmits=3 server_rtt_ms=- server_retransmits=-\n");
    expect_field(&record, ACCESS_FORMAT_JSON,
                 ",\"client_rtt_ms\":1.500,\"client_retransmits\":3,\"server_rtt_ms\":null,"
                 "\"server_retransmits\":null}\n");
}

Test(access_log, times_have_three_decimals, .timeout = 10) {
    const struct {
        int64_t us;
        const char *wanted;
    } times[] = {
        {0, " duration_ms=0.000 "},        {1, " duration_ms=0.001 "},
        {20, " duration_ms=0.020 "},       {999, " duration_ms=0.999 "},
        {1000, " duration_ms=1.000 "},     {1001, " duration_ms=1.001 "},
        {123456, " duration_ms=123.456 "}, {INT64_MAX, " duration_ms=9223372036854775.807 "},
    };
    for (size_t index = 0; index < sizeof(times) / sizeof(times[0]); index++) {
        struct access_record record = {.duration_us = times[index].us};
        expect_field(&record, ACCESS_FORMAT_TEXT, times[index].wanted);
    }
}

Test(access_log, the_largest_numbers_are_written_whole, .timeout = 10) {
    struct access_record record = {.id = UINT64_MAX, .worker = UINT32_MAX, .from_client_bytes = UINT64_MAX};
    expect_field(&record, ACCESS_FORMAT_TEXT, " id=18446744073709551615 worker=4294967295 ");
    expect_field(&record, ACCESS_FORMAT_JSON, "\"from_client_bytes\":18446744073709551615,");
}

Test(access_log, a_word_of_text_is_quoted_only_where_it_must_be, .timeout = 10) {
    expect_word("plain", "plain");
    expect_word("[::1]:80", "[::1]:80");
    expect_word("unix:/run/a.sock", "unix:/run/a.sock");
    expect_word("", "\"\"");
    expect_word("two words", "\"two words\"");
    expect_word("a=b", "\"a=b\"");
    expect_word("a\"b", "\"a\\\"b\"");
    expect_word("\"", "\"\\\"\"");
}

Test(access_log, nothing_in_a_text_breaks_its_line, .timeout = 10) {
    expect_word("a\nb", "a\\x0ab");
    expect_word("\r\t\x1b[2J", "\\x0d\\x09\\x1b[2J");
    expect_word("back\\slash", "back\\x5cslash");
    expect_word("\x7f\xff", "\\x7f\\xff");
    expect_word("caf\xc3\xa9", "caf\\xc3\\xa9");
    expect_word("x\" reason=client_fin \"", "\"x\\\" reason=client_fin \\\"\"");
}

Test(access_log, nothing_in_a_text_breaks_its_json, .timeout = 10) {
    expect_json("plain", "\"plain\"");
    expect_json("", "\"\"");
    expect_json("a\"b\\c", "\"a\\\"b\\\\c\"");
    expect_json("\n\r\t", "\"\\n\\r\\t\"");
    expect_json("\x01\x1b\x7f", "\"\\u0001\\u001b\\u007f\"");
    expect_json("caf\xc3\xa9", "\"caf\xc3\xa9\"");
    expect_json("\xff.\xc3", "\"\xef\xbf\xbd.\xef\xbf\xbd\"");
}

Test(access_log, a_line_is_appended_to_what_is_there, .timeout = 10) {
    struct access_record record = full_record();
    struct bytes lines;
    bytes_init(&lines);
    access_record_format(&record, ACCESS_FORMAT_TEXT, &lines);
    size_t size = lines.size;
    access_record_format(&record, ACCESS_FORMAT_TEXT, &lines);
    cr_assert_eq(lines.size, 2 * size);
    cr_assert_eq(memcmp(lines.data, lines.data + size, size), 0);
    bytes_clear(&lines);
    access_record_format(&record, ACCESS_FORMAT_JSON, &lines);
    size = lines.size;
    access_record_format(&record, ACCESS_FORMAT_JSON, &lines);
    cr_assert_eq(lines.size, 2 * size);
    cr_assert_eq(memcmp(lines.data, lines.data + size, size), 0);
    bytes_finish(&lines);
}
