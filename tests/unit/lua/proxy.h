/* A worker with filters written in Lua, on the test's own thread: clients, one server and the scripts are the test's.
 */
#ifndef MOONRING_TESTS_UNIT_LUA_PROXY_H
#define MOONRING_TESTS_UNIT_LUA_PROXY_H

#include "lua/filters.h"
#include "lua/runtime.h"
#include "tests/support/deadline.h"
#include "tests/unit/engine/service.h"
#include "tests/unit/lua/workbench.h"

enum { PROXY_FILTERS_MAX = 3, PROXY_LOG_SIZE = 64 * 1024 };

struct proxy {
    struct workbench workbench; /* the folder of the scripts, and the watchdog */
    struct service service;
    struct config config; /* to be changed before proxy_open, as are these: */
    struct config_listener listener;
    struct config_filter filter_configs[PROXY_FILTERS_MAX];
    bool trace;
    uint32_t load_budget_ms;
    bool without_upstream;
    uint32_t worker; /* its number */
    char paths[PROXY_FILTERS_MAX][512];
    struct filters *filters;
    int client;
    int server; /* -1: none */
    char log[PROXY_LOG_SIZE];
};

/* No filter; safe libraries, 64 MiB, 100 ms. */
void proxy_init(struct proxy *proxy);
/* Adds a filter of that name, the last in the row, whose script is `text`. */
struct config_filter *proxy_add(struct proxy *proxy, const char *name, const char *text);
/* Loads the filters, which must succeed, and starts the worker. */
void proxy_open(struct proxy *proxy);
/* proxy_init, one filter `test`, proxy_open. */
void proxy_open_with(struct proxy *proxy, const char *text);
void proxy_close(struct proxy *proxy);
/* What loading the filters says is wrong; "" when it succeeds. The worker is not started. */
const char *proxy_load_report(struct proxy *proxy);

/* A client, and its connection at the server. */
void proxy_connect(struct proxy *proxy);
/* A client alone, which the worker may not have seen yet. */
void proxy_connect_client(struct proxy *proxy);
void proxy_send(int fd, const char *text);
/* Turns until exactly this has come. */
void proxy_expect(struct proxy *proxy, int fd, const char *text);
/* Turns until the stream ends, before which nothing comes; returns 0, or -errno when it broke. */
int proxy_expect_end(struct proxy *proxy, int fd);
/* Turns until the session has ended for that reason. */
void proxy_expect_closed(struct proxy *proxy, enum close_reason reason);
/* Closes what is open of the pair, and turns until its session is over. */
void proxy_hang_up(struct proxy *proxy);

/* What was logged so far. */
const char *proxy_log(struct proxy *proxy);
/* Turns until that was logged. */
void proxy_expect_log(struct proxy *proxy, const char *part);
/* How often that was logged so far. */
size_t proxy_count_log(struct proxy *proxy, const char *part);
/* The VM of the filter, by its place in the row; NULL: it is off. */
struct runtime *proxy_runtime(struct proxy *proxy, size_t index);

#endif
