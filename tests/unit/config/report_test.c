/* What is wrong, as JSON. The texts are in tests/gallery. */
#include "loading.h"

#include <criterion/criterion.h>
#include <string.h>

static void expect_json(struct loading_result *result, const char *expected) {
    struct bytes json;
    bytes_init(&json);
    config_report_json(&result->report, "test.yaml", &json);
    cr_expect_str_eq(json.data, expected, "%s", json.data);
    bytes_finish(&json);
    loading_finish(result);
}

Test(report, of_a_good_file_is_json_without_findings, .timeout = 10) {
    struct loading_result result = loading_from(LOADING_SMALL);
    expect_json(&result, "{\n"
                         "  \"file\": \"test.yaml\",\n"
                         "  \"errors\": 0,\n"
                         "  \"warnings\": 0,\n"
                         "  \"findings\": []\n"
                         "}\n");
}

Test(report, tells_in_json_all_that_it_tells_in_text, .timeout = 10) {
    struct loading_result result = loading_from("listeners:\n"
                                                "  web: {bind: ':80', upstream: 'a:1', timeouts: {idle: off}}\n"
                                                "  web: {bind: \":\\\"\"}\n");
    expect_json(&result,
                "{\n"
                "  \"file\": \"test.yaml\",\n"
                "  \"errors\": 1,\n"
                "  \"warnings\": 1,\n"
                "  \"findings\": [\n"
                "    {\n"
                "      \"severity\": \"warning\",\n"
                "      \"code\": \"W0502\",\n"
                "      \"file\": \"test.yaml\",\n"
                "      \"line\": 2,\n"
                "      \"column\": 56,\n"
                "      \"end_line\": 2,\n"
                "      \"end_column\": 59,\n"
                "      \"message\": \"\\\"idle\\\" of \\\"timeouts\\\" of listener \\\"web\\\": sessions whose "
                "peers vanished without a word are never closed\"\n"
                "    },\n"
                "    {\n"
                "      \"severity\": \"error\",\n"
                "      \"code\": \"E0204\",\n"
                "      \"file\": \"test.yaml\",\n"
                "      \"line\": 3,\n"
                "      \"column\": 3,\n"
                "      \"end_line\": 3,\n"
                "      \"end_column\": 6,\n"
                "      \"message\": \"the key \\\"web\\\" is there twice\",\n"
                "      \"help\": \"rename or remove one of the two\",\n"
                "      \"note\": {\n"
                "        \"message\": \"the first one\",\n"
                "        \"file\": \"test.yaml\",\n"
                "        \"line\": 2,\n"
                "        \"column\": 3,\n"
                "        \"end_line\": 2,\n"
                "        \"end_column\": 6\n"
                "      }\n"
                "    }\n"
                "  ]\n"
                "}\n");
}

Test(report, of_a_file_as_a_whole_has_no_line_in_json, .timeout = 10) {
    struct loading_result result = loading_from("");
    expect_json(&result, "{\n"
                         "  \"file\": \"test.yaml\",\n"
                         "  \"errors\": 1,\n"
                         "  \"warnings\": 0,\n"
                         "  \"findings\": [\n"
                         "    {\n"
                         "      \"severity\": \"error\",\n"
                         "      \"code\": \"E0401\",\n"
                         "      \"file\": \"test.yaml\",\n"
                         "      \"message\": \"there is no listener\",\n"
                         "      \"help\": \"add: listeners: {web: {bind: \\\":8080\\\", upstream: NAME}}\"\n"
                         "    }\n"
                         "  ]\n"
                         "}\n");
}

Test(report, names_the_option_of_a_text_that_was_made, .timeout = 10) {
    const char *text = "listeners:\n  main:\n    bind: '*:80'\n    upstream: 'a:1'\n";
    static const char *const origins[] = {NULL, NULL, "--listen"};
    struct loading_result result;
    config_report_init(&result.report);
    result.config = config_load_made(text, strlen(text), "command line", origins, 3, &result.report);
    cr_expect_not_null(strstr(result.report.json.data, "\"file\": \"command line\",\n      \"option\": \"--listen\",\n"
                                                       "      \"message\": "),
                       "%s", result.report.json.data);
    loading_finish(&result);
}

Test(report, takes_up_what_goes_wrong_after_loading, .timeout = 10) {
    struct config_place yaml = {.file = "test.yaml", .line = 7, .column = 9};
    struct loading_result result = loading_from(LOADING_SMALL "  spare: {servers: ['b:1']}\n");
    bytes_clear(&result.report.text);
    bytes_clear(&result.report.json);
    result.report.warnings_count = 0;
    config_report_error(&result.report, "guard.lua:3: no luck\n\ttraceback", &yaml, "it is the filter 'guard'");
    config_report_error(&result.report, "test.yaml:7:9: nothing to serve", NULL, NULL);
    config_report_error(&result.report, "memory: none", NULL, NULL);
    cr_expect_str_eq(result.report.text.data, "guard.lua:3: error: no luck\n"
                                              "\ttraceback\n"
                                              "test.yaml:7:9: note: it is the filter 'guard'\n"
                                              "test.yaml:7:9: error: nothing to serve\n"
                                              "error: memory: none\n");
    expect_json(&result, "{\n"
                         "  \"file\": \"test.yaml\",\n"
                         "  \"errors\": 3,\n"
                         "  \"warnings\": 0,\n"
                         "  \"findings\": [\n"
                         "    {\n"
                         "      \"severity\": \"error\",\n"
                         "      \"file\": \"guard.lua\",\n"
                         "      \"line\": 3,\n"
                         "      \"message\": \"no luck\\n\\ttraceback\",\n"
                         "      \"note\": {\n"
                         "        \"message\": \"it is the filter 'guard'\",\n"
                         "        \"file\": \"test.yaml\",\n"
                         "        \"line\": 7,\n"
                         "        \"column\": 9\n"
                         "      }\n"
                         "    },\n"
                         "    {\n"
                         "      \"severity\": \"error\",\n"
                         "      \"file\": \"test.yaml\",\n"
                         "      \"line\": 7,\n"
                         "      \"column\": 9,\n"
                         "      \"message\": \"nothing to serve\"\n"
                         "    },\n"
                         "    {\n"
                         "      \"severity\": \"error\",\n"
                         "      \"message\": \"memory: none\"\n"
                         "    }\n"
                         "  ]\n"
                         "}\n");
}

Test(report, of_a_file_that_cannot_be_read_is_json_too, .timeout = 10) {
    struct loading_result result;
    config_report_init(&result.report);
    result.config = config_load_file("/nowhere/a.yaml", NULL, &result.report);
    cr_expect_null(result.config);
    cr_expect_not_null(strstr(result.report.json.data, "\"code\": \"E0101\""), "%s", result.report.json.data);
    loading_finish(&result);
}
