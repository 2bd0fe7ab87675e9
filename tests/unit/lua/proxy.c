#include "tests/unit/lua/proxy.h"

#include "base/log.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* --- life --------------------------------------------------------------------------------------------------------- */

static void proxy_log_to_file(struct proxy *proxy) {
    struct error error = {.text = ""};
    char path[512];
    snprintf(path, sizeof(path), "%s/log", proxy->workbench.folder);
    cr_assert(log_open(path, &error), "%s", error.text);
}

void proxy_init(struct proxy *proxy) {
    *proxy = (struct proxy){.client = -1, .server = -1};
    workbench_open(&proxy->workbench);
    proxy_log_to_file(proxy);
    service_init(&proxy->service);
    proxy->listener = (struct config_listener){
        .name = "web", .filters = proxy->filter_configs, .place = {.file = "test.yaml", .line = 2, .column = 3}};
    proxy->config = (struct config){.folder = proxy->workbench.folder,
                                    .listeners = &proxy->listener,
                                    .listeners_count = 1,
                                    .lua = {.memory = (size_t)64 << 20, .budget_ms = 100}};
}

struct config_filter *proxy_add(struct proxy *proxy, const char *name, const char *text) {
    char file[256];
    snprintf(file, sizeof(file), "%s.lua", name);
    workbench_write(&proxy->workbench, file, text);
    size_t index = proxy->listener.filters_count++;
    struct config_filter *filter = &proxy->filter_configs[index];
    char folder[sizeof(proxy->workbench.folder)];
    strcpy(folder, proxy->workbench.folder);
    snprintf(proxy->paths[index], sizeof(proxy->paths[index]), "%s/%s", folder, file);
    *filter = (struct config_filter){.place = {.file = "test.yaml", .line = (uint32_t)index + 5, .column = 9},
                                     .path = proxy->paths[index],
                                     .name = name,
                                     .params = {.kind = CONFIG_VALUE_MAP},
                                     .hold_max = 64 * 1024,
                                     .hold_timeout_ms = 10000,
                                     .jit = true};
    return filter;
}

static struct filters *proxy_load(struct proxy *proxy, struct config_report *report) {
    const struct filters_options options = {
        .worker = proxy->worker, .load_budget_ms = proxy->load_budget_ms, .trace = proxy->trace};
    proxy->listener.upstream = proxy->without_upstream ? CONFIG_NO_UPSTREAM : 0;
    return filters_load(&proxy->config, &options, &proxy->workbench.watch, report);
}

const char *proxy_load_report(struct proxy *proxy) {
    struct config_report report;
    config_report_init(&report);
    filters_destroy(proxy_load(proxy, &report), &proxy->workbench.watch);
    snprintf(proxy->log, sizeof(proxy->log), "%s", report.text.data);
    config_report_finish(&report);
    return proxy->log;
}

void proxy_open(struct proxy *proxy) {
    struct config_report report;
    config_report_init(&report);
    proxy->filters = proxy_load(proxy, &report);
    cr_assert_not_null(proxy->filters, "%s", report.text.data);
    config_report_finish(&report);
    proxy->service.listener_config.upstream = proxy->listener.upstream;
    proxy->service.listener_config.timeouts = proxy->listener.timeouts;
    service_open(&proxy->service);
    proxy->service.epoch->filter_lists = filters_lists(proxy->filters);
    filters_start(proxy->filters, &proxy->service.worker.engine, &proxy->workbench.watch);
}

void proxy_open_with(struct proxy *proxy, const char *text) {
    proxy_init(proxy);
    proxy_add(proxy, "test", text);
    proxy_open(proxy);
}

static void close_end(int *fd) {
    if (*fd >= 0) {
        kernel_close(*fd);
        *fd = -1;
    }
}

/* The server has also connections that the test did not take. */
static bool hung_up(struct proxy *proxy) {
    int fd = kernel_accept(proxy->service.servers[0]);
    close_end(&fd);
    return proxy->service.worker.engine.sessions_count == 0;
}

void proxy_hang_up(struct proxy *proxy) {
    close_end(&proxy->client);
    close_end(&proxy->server);
    service_wait(&proxy->service, hung_up(proxy));
}

void proxy_close(struct proxy *proxy) {
    if (proxy->filters != NULL) {
        proxy_hang_up(proxy);
        filters_stop(proxy->filters);
        service_close(&proxy->service);
        filters_destroy(proxy->filters, &proxy->workbench.watch);
    }
    struct error error;
    log_open("stderr", &error);
    workbench_close(&proxy->workbench);
}

/* --- peers -------------------------------------------------------------------------------------------------------- */

void proxy_connect_client(struct proxy *proxy) {
    close_end(&proxy->client);
    proxy->client = service_client(&proxy->service);
}

void proxy_connect(struct proxy *proxy) {
    proxy_connect_client(proxy);
    close_end(&proxy->server);
    proxy->server = service_server(&proxy->service, 0);
}

void proxy_send(int fd, const char *text) {
    size_t size = strlen(text);
    cr_assert_eq(send(fd, text, size, MSG_NOSIGNAL), (ssize_t)size);
}

/* Takes what is there. What recv() returns; -errno when it failed. */
static ssize_t receive_some(int fd, char *bytes, size_t size) {
    ssize_t received = recv(fd, bytes, size, MSG_DONTWAIT);
    return received < 0 ? -errno : received;
}

void proxy_expect(struct proxy *proxy, int fd, const char *text) {
    char piece[4096] = "";
    size_t size = strlen(text);
    cr_assert_lt(size, sizeof(piece));
    for (size_t done = 0; done < size;) {
        ssize_t part = -EAGAIN;
        service_wait(&proxy->service, (part = receive_some(fd, piece + done, size - done)) != -EAGAIN);
        cr_assert_gt(part, 0, "'%s' came of '%s', then %zd; %s", piece, text, part, proxy_log(proxy));
        done += (size_t)part;
        piece[done] = 0;
    }
    cr_assert_str_eq(piece, text);
}

int proxy_expect_end(struct proxy *proxy, int fd) {
    return service_expect_end(&proxy->service, fd);
}

void proxy_expect_closed(struct proxy *proxy, enum close_reason reason) {
    const struct engine_counters *counters = service_counters(&proxy->service);
    service_wait(&proxy->service, counters->sessions_closed[reason] > 0);
    cr_assert_eq(counters->sessions_closed[reason], 1);
}

/* --- the log ------------------------------------------------------------------------------------------------------ */

const char *proxy_log(struct proxy *proxy) {
    char path[512];
    snprintf(path, sizeof(path), "%s/log", proxy->workbench.folder);
    FILE *file = fopen(path, "r");
    size_t size = file != NULL ? fread(proxy->log, 1, sizeof(proxy->log) - 1, file) : 0;
    proxy->log[size] = 0;
    if (file != NULL) {
        fclose(file);
    }
    return proxy->log;
}

size_t proxy_count_log(struct proxy *proxy, const char *part) {
    size_t count = 0;
    for (const char *at = proxy_log(proxy); (at = strstr(at, part)) != NULL; at += strlen(part)) {
        count++;
    }
    return count;
}

void proxy_expect_log(struct proxy *proxy, const char *part) {
    uint64_t deadline_ms = deadline_after(DEADLINE_MS / 2);
    while (proxy_count_log(proxy, part) == 0) {
        cr_assert_gt(deadline_left_ms(deadline_ms), 0, "the log does not say\n%s\nbut\n%s", part, proxy->log);
        service_turn(&proxy->service);
    }
}

struct runtime *proxy_runtime(struct proxy *proxy, size_t index) {
    struct filter *filter = filters_lists(proxy->filters)[0].filters[index];
    return container_of(filter, struct lua_filter, filter)->runtime;
}
