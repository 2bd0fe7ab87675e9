/* nginx and curl: a large download, connections that are kept, and an upload. */
#include "tests/support/moonring.h"
#include "tests/support/pattern.h"

#include <criterion/criterion.h>
#include <stdio.h>

enum { MIB = 1 << 20, DOWNLOAD_SIZE = 512 * MIB, UPLOAD_SIZE = 64 * MIB };

struct nginx {
    struct process server;
    struct temporary folder; /* what it serves, and where uploads go */
    struct moonring moonring;
};

static void nginx_start(struct nginx *nginx, const char *file, size_t file_size) {
    temporary_create(&nginx->folder);
    const char *folder = nginx->folder.path;
    char path[TEMPORARY_PATH_MAX], address[ADDRESS_TEXT_MAX];
    pattern_write_file(1, temporary_path(&nginx->folder, file, path), file_size);
    snprintf(address, sizeof(address), "127.0.0.1:%u", peer_free_port());
    temporary_write(&nginx->folder, "nginx.conf",
                    "daemon off; master_process off; pid nginx.pid; error_log stderr;\n"
                    "events {}\n"
                    "http {\n"
                    "  access_log off; sendfile on; client_max_body_size 0; client_body_temp_path body;\n"
                    "  server { listen %s; root %s; location /upload/ { dav_methods PUT; create_full_put_path on; } }\n"
                    "}\n",
                    address, folder);
    process_start(
        &nginx->server, NULL,
        ARGUMENTS("nginx", "-e", "stderr", "-p", folder, "-c", temporary_path(&nginx->folder, "nginx.conf", path)));
    peer_wait_for_server(address);
    moonring_start(&nginx->moonring, "listeners: {web: {bind: '127.0.0.1:0', upstream: '%s'}}\n", address);
}

static void nginx_stop(struct nginx *nginx) {
    moonring_stop(&nginx->moonring);
    process_kill(&nginx->server);
}

/* The sha256 of what a shell command writes. */
struct sum {
    char text[65];
};

/* The sha256 of what `command` followed by `subject` writes. */
static struct sum sum_of(const char *command, const char *subject) {
    struct process shell;
    char line[512];
    snprintf(line, sizeof(line), "%s %s | sha256sum", command, subject);
    process_run(&shell, ARGUMENTS("sh", "-c", line));
    struct sum sum;
    snprintf(sum.text, sizeof(sum.text), "%.64s", process_text(&shell.output));
    return sum;
}

Test(nginx, delivers_512_mib_to_curl, .timeout = 120) {
    struct nginx nginx;
    char url[256], path[TEMPORARY_PATH_MAX];
    nginx_start(&nginx, "large", DOWNLOAD_SIZE);
    snprintf(url, sizeof(url), "http://%s/large", nginx.moonring.address);
    cr_assert_str_eq(sum_of("curl -sSf", url).text, sum_of("cat", temporary_path(&nginx.folder, "large", path)).text);
    nginx_stop(&nginx);
}

Test(nginx, keeps_a_connection_for_several_requests, .timeout = 60) {
    struct nginx nginx;
    struct process curl;
    char url[256];
    nginx_start(&nginx, "small", 1000);
    snprintf(url, sizeof(url), "http://%s/small", nginx.moonring.address);
    process_run(&curl, ARGUMENTS("curl", "-sSf", "-w", "%{stderr}%{size_download}:%{num_connects} ", url, url, url));
    cr_assert_str_eq(process_text(&curl.errors), "1000:1 1000:0 1000:0 ");
    const char *line = moonring_expect_session(&nginx.moonring, "reason=client_fin");
    cr_assert(session_line_number(line, "from_server_bytes") > 3000);
    nginx_stop(&nginx);
}

Test(nginx, takes_an_upload_of_64_mib_from_curl, .timeout = 60) {
    struct nginx nginx;
    struct process curl;
    char source[TEMPORARY_PATH_MAX], copy[TEMPORARY_PATH_MAX], url[256];
    nginx_start(&nginx, "source", UPLOAD_SIZE);
    snprintf(url, sizeof(url), "http://%s/upload/copy", nginx.moonring.address);
    process_run(&curl, ARGUMENTS("curl", "-sSf", "-T", temporary_path(&nginx.folder, "source", source), url));
    process_run(&curl, ARGUMENTS("cmp", source, temporary_path(&nginx.folder, "upload/copy", copy)));
    nginx_stop(&nginx);
}

Test(nginx, serves_a_hundred_connections_that_curl_opens_side_by_side, .timeout = 60) {
    struct nginx nginx;
    struct process curl;
    char url[256];
    nginx_start(&nginx, "page", 100000);
    snprintf(url, sizeof(url), "http://%s/page?[1-100]", nginx.moonring.address);
    process_run(&curl, ARGUMENTS("curl", "-sSf", "--parallel", "--parallel-max", "50", "-o", "/dev/null", "-w",
                                 "%{size_download}\n", url));
    cr_assert(process_count_lines(&curl.output, "100000") == 100, "%s", process_text(&curl.output));
    nginx_stop(&nginx);
}
