#include "config/schema.h"

#include "base/check.h"

#include <assert.h>
#include <string.h>

#define US UINT64_C(1)
#define MS (1000 * US)
#define SECOND (1000 * MS)
#define MINUTE (60 * SECOND)
#define DAY (24 * 60 * MINUTE)
#define KIB UINT64_C(1024)
#define MIB (1024 * KIB)
#define GIB (1024 * MIB)
#define HOUR_SECONDS UINT64_C(3600)
#define CONNECTIONS_MAX 10000000 /* far beyond the descriptors that a process can have */

#define VALUE(record, member) .offset = offsetof(struct record, member), .size = sizeof(((struct record *)NULL)->member)
#define ITEMS(record, member)                                                                                          \
    .offset = offsetof(struct record, member), .count_offset = offsetof(struct record, member##_count)
#define SIZE(record, member, smallest, largest)                                                                        \
    .type = KEY_SIZE, VALUE(record, member), .min = (smallest), .max = (largest)
#define DURATION(record, member, unit, shortest, longest)                                                              \
    .type = KEY_DURATION, VALUE(record, member), .unit_us = (unit), .min = (shortest), .max = (longest)
#define OFF .word = "off", .word_value = 0

/* Items know where they were written. */
static_assert(offsetof(struct config_bind, place) == 0, "an item begins with its place");
static_assert(offsetof(struct config_filter, place) == 0, "an item begins with its place");
static_assert(offsetof(struct config_listener, place) == 0, "an item begins with its place");
static_assert(offsetof(struct config_server, place) == 0, "an item begins with its place");
static_assert(offsetof(struct config_upstream, place) == 0, "an item begins with its place");
static_assert(offsetof(struct config_root, config) == 0, "an offset in struct config is one in struct config_root");

static const struct key timeouts_keys[] = {
    {.name = "connect",
     DURATION(config_timeouts, connect_ms, MS, MS, 365 * DAY),
     OFF,
     .fallback = "5s",
     .help = "how long one try to reach a server may take; an upstream may set its own, which wins"},
    {.name = "preread",
     DURATION(config_timeouts, preread_ms, MS, MS, 365 * DAY),
     OFF,
     .fallback = "5s",
     .help =
         "how long the PROXY header and all `route` hooks together may take, however slowly the client sends what they "
         "wait for"},
    {.name = "handshake",
     DURATION(config_timeouts, handshake_ms, MS, MS, 365 * DAY),
     OFF,
     .fallback = "10s",
     .help = "how long all `connected` hooks together may take"},
    {.name = "idle",
     DURATION(config_timeouts, idle_ms, MS, MS, 365 * DAY),
     OFF,
     .word_warning = "sessions whose peers vanished without a word are never closed",
     .fallback = "1h",
     .help = "closes a session when no byte came from either side for so long"},
    {.name = "half_close",
     DURATION(config_timeouts, half_close_ms, MS, MS, 365 * DAY),
     OFF,
     .fallback = "1m",
     .help = "the same, once one side has ended its direction: no byte in the other one (a reply that keeps flowing is "
             "never cut)"},
    {.name = "send_stall",
     DURATION(config_timeouts, send_stall_ms, MS, MS, 365 * DAY),
     OFF,
     .fallback = "5m",
     .help = "closes a session when data waits for a peer that took no byte for so long"},
    {.name = "max_lifetime",
     DURATION(config_timeouts, max_lifetime_ms, MS, MS, 365 * DAY),
     OFF,
     .fallback = "off",
     .help = "closes a session so long after it was accepted, busy or not"},
    {.name = NULL},
};
static const struct section timeouts_section = {.size = sizeof(struct config_timeouts), .keys = timeouts_keys};

static const struct key keepalive_keys[] = {
    {.name = "idle",
     DURATION(config_tcp, keepalive_idle_s, SECOND, SECOND, 32767 * SECOND),
     .fallback = "60s",
     .help = "silence before the first probe"},
    {.name = "interval",
     DURATION(config_tcp, keepalive_interval_s, SECOND, SECOND, 32767 * SECOND),
     .fallback = "10s",
     .help = "between probes"},
    {.name = "count",
     .type = KEY_INTEGER,
     VALUE(config_tcp, keepalive_count),
     .min = 1,
     .max = 127,
     .fallback = "6",
     .help = "probes without an answer after which the connection is broken"},
    {.name = NULL},
};
static const struct section keepalive_section = {.keys = keepalive_keys};

static const struct key tcp_keys[] = {
    {.name = "nodelay",
     .type = KEY_BOOL,
     VALUE(config_tcp, nodelay),
     .fallback = "true",
     .help = "TCP_NODELAY on both sides: small writes are sent at once"},
    {.name = "keepalive",
     .type = KEY_SECTION,
     .section = &keepalive_section,
     VALUE(config_tcp, keepalive),
     OFF,
     .fallback = "off",
     .help = "SO_KEEPALIVE on both sides; a section, also an empty one `{}`, switches it on. Off by default: "
             "`timeouts.idle` "
             "ends what is dead, and idle peers are not woken"},
    {.name = "backlog",
     .type = KEY_INTEGER,
     VALUE(config_tcp, backlog),
     .min = 1,
     .max = 65535,
     .fallback = "4096",
     .help = "connections that may wait in the kernel to be accepted (the kernel caps it at net.core.somaxconn)"},
    {.name = NULL},
};
static const struct section tcp_section = {.size = sizeof(struct config_tcp), .keys = tcp_keys};

static const struct key bind_keys[] = {
    {.name = "address",
     .type = KEY_BIND,
     .required = true,
     .help = "where to accept. `:8080` is every IPv4 and IPv6 address of the machine, `[::]:8080` every IPv6 one, "
             "`0.0.0.0:8080` every IPv4 one; port 0 is any free one; `systemd:NAME` are the sockets of that name "
             "that systemd passes"},
    {.name = "mode",
     .type = KEY_MODE,
     VALUE(config_bind, mode),
     .absent = CONFIG_MODE_DEFAULT,
     .help = "permissions of a unix socket's file; when left out, as the umask has it"},
    {.name = "group",
     .type = KEY_TEXT,
     VALUE(config_bind, group),
     .help = "group of a unix socket's file; when left out, the group of the process"},
    {.name = NULL},
};
static const struct section bind_section = {
    .noun = "bind",
    .size = sizeof(struct config_bind),
    .name_offset = offsetof(struct config_bind, text),
    .shorthand = "address",
    .plain = "an address",
    .keys = bind_keys,
};

static const char *const on_error_words[] = {[ON_ERROR_CLOSE] = "close", [ON_ERROR_BYPASS] = "bypass", NULL};
static const struct key filter_keys[] = {
    {.name = "lua", .type = KEY_SCRIPT, .required = true, .help = "the script; one script may be used several times"},
    {.name = "name",
     .type = KEY_NAME,
     VALUE(config_filter, name),
     .help = "what logs and metrics call it; when left out, the name of the file without `.lua`"},
    {.name = "params",
     .type = KEY_PARAMS,
     .offset = offsetof(struct config_filter, params),
     .help = "what the script gets from `mr.params`, which also says what is allowed"},
    {.name = "on_error",
     .type = KEY_WORD,
     VALUE(config_filter, on_error),
     .words = on_error_words,
     .fallback = "close",
     .help = "what an error in a hook does to its session: it is closed, or the filter leaves it and its bytes pass"},
    {.name = "strict",
     .type = KEY_BOOL,
     VALUE(config_filter, strict),
     .fallback = "false",
     .help = "for filters that must see every byte: what is held when a side ends is dropped, and too much closes the "
             "session whatever `on_error` says"},
    {.name = "hold_max",
     SIZE(config_filter, hold_max, 1, 64 * MIB),
     .fallback = "64KiB",
     .help = "how much of one direction a hook may leave for later; more is an error of the filter"},
    {.name = "hold_timeout",
     DURATION(config_filter, hold_timeout_ms, MS, MS, 365 * DAY),
     OFF,
     .fallback = "10s",
     .help = "how long held bytes may wait for the next one; longer is an error of the filter"},
    {.name = "jit",
     .type = KEY_BOOL,
     VALUE(config_filter, jit),
     .fallback = "true",
     .help =
         "compiles hooks to machine code; `false`: slower, and a hook that does not end costs its own session only"},
    {.name = "isolate",
     .type = KEY_BOOL,
     VALUE(config_filter, isolate),
     .fallback = "false",
     .help = "gives the filter a Lua VM of its own"},
    {.name = NULL},
};
static const struct section filter_section = {
    .noun = "filter",
    .size = sizeof(struct config_filter),
    .name_offset = offsetof(struct config_filter, name),
    .is_ordered = true,
    .shorthand = "lua",
    .plain = "a script",
    .keys = filter_keys,
};

static const struct key per_source_keys[] = {
    {.name = "max_connections",
     .type = KEY_INTEGER,
     VALUE(config_listener, per_source.connections_max),
     .min = 1,
     .max = CONNECTIONS_MAX,
     OFF,
     .fallback = "off",
     .help = "sessions of one source at one time"},
    {.name = "rate",
     .type = KEY_RATE,
     VALUE(config_listener, per_source.rate_per_hour),
     .min = 1,
     .max = 1000000 * HOUR_SECONDS,
     OFF,
     .fallback = "off",
     .help = "sessions that one source may begin in a while"},
    {.name = "burst",
     .type = KEY_INTEGER,
     VALUE(config_listener, per_source.burst),
     .min = 1,
     .max = 1000000,
     .help = "of these at once, after a while with fewer; when left out, as many as the rate allows in a second"},
    {.name = "prefix_v4",
     .type = KEY_INTEGER,
     VALUE(config_listener, per_source.prefix_v4),
     .min = 1,
     .max = 32,
     .fallback = "32",
     .help = "IPv4 clients whose addresses have so many bits in common are one source"},
    {.name = "prefix_v6",
     .type = KEY_INTEGER,
     VALUE(config_listener, per_source.prefix_v6),
     .min = 1,
     .max = 128,
     .fallback = "64",
     .help = "the same for IPv6, where a single client usually has a whole /64"},
    {.name = NULL},
};
static const struct section per_source_section = {.keys = per_source_keys};

static const struct key limits_keys[] = {
    {.name = "max_connections",
     .type = KEY_INTEGER,
     VALUE(config_listener, connections_max),
     .min = 1,
     .max = CONNECTIONS_MAX,
     OFF,
     .fallback = "off",
     .help = "sessions of this listener at one time; when it is reached, clients wait in the kernel's queue"},
    {.name = "bandwidth",
     .type = KEY_BANDWIDTH,
     VALUE(config_listener, bandwidth),
     .min = 1,
     .max = 1000 * UINT64_C(1000000000),
     OFF,
     .fallback = "off",
     .help = "bytes a second of each session, in each direction; a filter may set another with `conn:limit`"},
    {.name = "per_source",
     .type = KEY_SECTION,
     .section = &per_source_section,
     VALUE(config_listener, limits_sources),
     OFF,
     .fallback = "off",
     .help = "what the clients of one address, or of one block of addresses, may do; who goes beyond that is reset. "
             "Clients of unix sockets are not counted"},
    {.name = NULL},
};
static const struct section limits_section = {.keys = limits_keys};

static const struct key cidrs_key = {.name = "address", .type = KEY_CIDRS, .offset = 0, .size = sizeof(const char *)};

static const char *const proxy_accept_words[] = {
    [PROXY_ACCEPT_ANY] = "any", [PROXY_ACCEPT_V1] = "v1", [PROXY_ACCEPT_V2] = "v2", NULL};
static const struct key proxy_protocol_keys[] = {
    {.name = "accept",
     .type = KEY_WORD,
     VALUE(config_proxy_protocol, accept),
     .words = proxy_accept_words,
     .fallback = "any",
     .help = "versions of the header: 1 is a line of text, 2 is binary"},
    {.name = "trusted",
     .type = KEY_VALUES,
     .item = &cidrs_key,
     ITEMS(config_proxy_protocol, trusted),
     .single = true,
     .help =
         "the proxies: IP addresses, blocks of them, or `file:PATH` of a list, one a line. Connections from anywhere "
         "else are closed at once. Whoever may connect to a unix socket is trusted"},
    {.name = NULL},
};
static const struct section proxy_protocol_section = {.keys = proxy_protocol_keys};

static const struct key listener_keys[] = {
    {.name = "bind",
     .type = KEY_LIST,
     .required = true,
     .section = &bind_section,
     ITEMS(config_listener, binds),
     .single = true,
     .help = "the addresses to accept on: one, or a list; a plain address is short for a section with `address` alone"},
    {.name = "upstream",
     .type = KEY_UPSTREAM,
     .required = true,
     .unless = "filters",
     VALUE(config_listener, upstream),
     .absent = CONFIG_NO_UPSTREAM,
     .help = "where sessions go: the name of an upstream, or an address, which then is an upstream of one server; "
             "without it a filter has to `route` or to `serve`"},
    {.name = "filters",
     .type = KEY_LIST,
     .section = &filter_section,
     ITEMS(config_listener, filters),
     .help = "scripts that see the sessions, in the order in which the client's bytes pass them; a plain path is short "
             "for a section with `lua` alone"},
    {.name = "allow",
     .type = KEY_VALUES,
     .item = &cidrs_key,
     ITEMS(config_listener, allow),
     .single = true,
     .help = "who may connect: IP addresses, blocks of them, or `file:PATH` of a list, one a line; everybody else is "
             "closed at once. Of all blocks in `allow` and `deny` that hold the client's address the longest prefix "
             "decides. Clients of unix sockets are not asked"},
    {.name = "deny",
     .type = KEY_VALUES,
     .item = &cidrs_key,
     ITEMS(config_listener, deny),
     .single = true,
     .help = "who may not, in the same way; a block in both lists is denied. Without `allow`, everybody else may"},
    {.name = "proxy_protocol",
     .type = KEY_SECTION,
     .section = &proxy_protocol_section,
     .base = offsetof(struct config_listener, proxy_protocol),
     VALUE(config_listener, proxy_protocol.wanted),
     OFF,
     .fallback = "off",
     .help =
         "every connection has to begin with a PROXY header, which says who the client is; filters, rules, logs and "
         "servers then see that address. One without a header, or with a malformed one, is closed"},
    {.name = "timeouts",
     .type = KEY_SECTION,
     .section = &timeouts_section,
     .base = offsetof(struct config_listener, timeouts),
     .inherits = offsetof(struct config_root, defaults.timeouts)},
    {.name = "limits", .type = KEY_SECTION, .section = &limits_section},
    {.name = "tcp",
     .type = KEY_SECTION,
     .section = &tcp_section,
     .base = offsetof(struct config_listener, tcp),
     .inherits = offsetof(struct config_root, defaults.tcp)},
    {.name = NULL},
};
static const struct section listener_section = {
    .noun = "listener",
    .size = sizeof(struct config_listener),
    .name_offset = offsetof(struct config_listener, name),
    .keys = listener_keys,
};

static const struct key server_keys[] = {
    {.name = "name",
     .type = KEY_TEXT,
     VALUE(config_server, name),
     .help = "its identity in the upstream and its name in logs; when left out, the address as written"},
    {.name = "address",
     .type = KEY_SERVER,
     .required = true,
     .help =
         "an IP address or a host name with a port, or a unix socket; a host name is looked up at start, and all its "
         "addresses are used"},
    {.name = "weight",
     .type = KEY_INTEGER,
     VALUE(config_server, weight),
     .min = 1,
     .max = 1000,
     .fallback = "1",
     .help = "its share of the sessions beside the other servers'"},
    {.name = "max_connections",
     .type = KEY_INTEGER,
     VALUE(config_server, connections_max),
     .min = 1,
     .max = CONNECTIONS_MAX,
     OFF,
     .fallback = "off",
     .help = "sessions that it gets at one time; beyond them the next server is taken"},
    {.name = "backup",
     .type = KEY_BOOL,
     VALUE(config_server, backup),
     .fallback = "false",
     .help = "used when every other server was tried or is full; retry.attempts must reach that far"},
    {.name = NULL},
};
const struct section server_section = {
    .noun = "server",
    .size = sizeof(struct config_server),
    .name_offset = offsetof(struct config_server, name),
    .is_ordered = true,
    .shorthand = "address",
    .plain = "an address",
    .keys = server_keys,
};

static const char *const balance_words[] = {
    [BALANCE_ROUND_ROBIN] = "round_robin",
    [BALANCE_LEAST_CONN] = "least_conn",
    [BALANCE_RANDOM] = "random",
    [BALANCE_FIRST] = "first",
    NULL,
};

static const struct key retry_keys[] = {
    {.name = "attempts",
     .type = KEY_INTEGER,
     VALUE(config_upstream, retry_attempts),
     .min = 1,
     .max = 16,
     .fallback = "3",
     .help = "servers tried for one session, the first one included"},
    {.name = "backoff",
     DURATION(config_upstream, retry_backoff_ms, MS, MS, MINUTE),
     OFF,
     .fallback = "50ms",
     .help = "the wait before servers that were tried already are tried again"},
    {.name = NULL},
};
static const struct section retry_section = {.keys = retry_keys};

static const struct key upstream_timeouts_keys[] = {
    {.name = "connect",
     DURATION(config_upstream, connect_ms, MS, MS, 365 * DAY),
     OFF,
     .absent = UINT64_MAX,
     .help = "how long one try to reach a server may take; when left out, the listener's `timeouts.connect` holds"},
    {.name = NULL},
};
static const struct section upstream_timeouts_section = {.keys = upstream_timeouts_keys};

static const struct key health_check_keys[] = {
    {.name = "interval",
     DURATION(config_upstream, health.check.interval_ms, MS, 10 * MS, DAY),
     .fallback = "2s",
     .help = "from one check of a server to the next, give or take a tenth"},
    {.name = "timeout",
     DURATION(config_upstream, health.check.timeout_ms, MS, MS, MINUTE),
     .fallback = "1s",
     .help = "how long a check may take; it has passed when the server is connected"},
    {.name = "rise",
     .type = KEY_INTEGER,
     VALUE(config_upstream, health.check.rise),
     .min = 1,
     .max = 1000,
     .fallback = "2",
     .help = "checks in a row that must pass until a server that is down is up"},
    {.name = "fall",
     .type = KEY_INTEGER,
     VALUE(config_upstream, health.check.fall),
     .min = 1,
     .max = 1000,
     .fallback = "3",
     .help = "checks in a row that must fail until a server that is up is down; the very first check of a server "
             "decides alone"},
    {.name = NULL},
};
static const struct section health_check_section = {.keys = health_check_keys};

static const struct key outlier_detection_keys[] = {
    {.name = "consecutive_failures",
     .type = KEY_INTEGER,
     VALUE(config_upstream, health.outlier.consecutive_failures),
     .min = 1,
     .max = 1000,
     .fallback = "5",
     .help = "sessions' connects in a row, over all workers, that must fail or time out until a server is ejected: it "
             "gets no sessions"},
    {.name = "ejection_time",
     DURATION(config_upstream, health.outlier.ejection_time_ms, MS, MS, DAY),
     .fallback = "30s",
     .help = "for so long; twice as long each time it happens again soon after, up to eight times"},
    {.name = "max_ejection",
     .type = KEY_PERCENT,
     VALUE(config_upstream, health.outlier.ejection_max),
     .fallback = "50%",
     .help = "servers of the upstream that may be ejected at one time, rounded down"},
    {.name = NULL},
};
static const struct section outlier_detection_section = {.keys = outlier_detection_keys};

static const char *const server_down_words[] = {
    [SERVER_DOWN_KEEP] = "keep",
    [SERVER_DOWN_DRAIN] = "drain",
    [SERVER_DOWN_RESET] = "reset",
    NULL,
};
static const char *const proxy_send_words[] = {
    [PROXY_SEND_OFF] = "off", [PROXY_SEND_V1] = "v1", [PROXY_SEND_V2] = "v2", NULL};

static const struct key upstream_keys[] = {
    {.name = "servers",
     .type = KEY_LIST,
     .required = true,
     .section = &server_section,
     ITEMS(config_upstream, servers),
     .help = "a list; a plain address is short for a section with `address` alone"},
    {.name = "balance",
     .type = KEY_WORD,
     VALUE(config_upstream, balance),
     .words = balance_words,
     .fallback = "round_robin",
     .help = "which server the next session gets: in turn, the one with the fewest sessions, any, or the first that "
             "answers"},
    {.name = "proxy_protocol",
     .type = KEY_WORD,
     VALUE(config_upstream, proxy_protocol),
     .words = proxy_send_words,
     .fallback = "off",
     .help = "each connection to a server begins with a PROXY header of that version, which says who the client is and "
             "where it had connected to; the servers must expect it"},
    {.name = "retry", .type = KEY_SECTION, .section = &retry_section},
    {.name = "timeouts", .type = KEY_SECTION, .section = &upstream_timeouts_section},
    {.name = "health_check",
     .type = KEY_SECTION,
     .section = &health_check_section,
     VALUE(config_upstream, health.check.on),
     OFF,
     .fallback = "off",
     .help = "connects to each server from time to time, and gives none that does not answer a session; a section, "
             "also an empty one `{}`, switches it on"},
    {.name = "outlier_detection",
     .type = KEY_SECTION,
     .section = &outlier_detection_section,
     VALUE(config_upstream, health.outlier.on),
     OFF,
     .fallback = "off",
     .help = "takes servers out for a while that sessions cannot connect to; a section, also an empty one `{}`, "
             "switches it on"},
    {.name = "on_server_down",
     .type = KEY_WORD,
     VALUE(config_upstream, health.on_server_down),
     .words = server_down_words,
     .fallback = "keep",
     .help = "what becomes of the sessions of a server that goes down, is ejected or is disabled: they go on; they "
             "are closed after `shutdown.drain_timeout` unless it is back; they are reset at once"},
    {.name = "on_removed",
     .type = KEY_WORD,
     VALUE(config_upstream, health.on_removed),
     .words = server_down_words,
     .fallback = "keep",
     .help = "the same for the sessions of a server that a reload removes"},
    {.name = "slow_start",
     DURATION(config_upstream, health.slow_start_ms, MS, MS, DAY),
     OFF,
     .fallback = "10s",
     .help = "how long the share of a server that returns grows from a hundredth to the whole (`balance: first` knows "
             "no shares)"},
    {.name = NULL},
};

/* One that was made from a listener's `upstream: ADDRESS` is named by the address. No other name has a colon in it. */
static bool upstream_is_written(const void *record) {
    const struct config_upstream *upstream = record;
    return strchr(upstream->name, ':') == NULL;
}

const struct section upstream_section = {
    .noun = "upstream",
    .size = sizeof(struct config_upstream),
    .name_offset = offsetof(struct config_upstream, name),
    .keys = upstream_keys,
    .is_written = upstream_is_written,
};

static const char *const level_words[] = {
    [LOG_ERROR] = "error", [LOG_WARN] = "warn", [LOG_INFO] = "info", [LOG_DEBUG] = "debug", [LOG_TRACE] = "trace", NULL,
};
static const struct key error_log_keys[] = {
    {.name = "target",
     .type = KEY_TARGET,
     VALUE(config_log, error_target),
     .fallback = "stderr",
     .help = "where the program says what happened to it"},
    {.name = "level",
     .type = KEY_WORD,
     VALUE(config_log, error_level),
     .words = level_words,
     .fallback = "info",
     .help = "nothing beyond this level is written"},
    {.name = NULL},
};
static const struct section error_log_section = {.keys = error_log_keys};

static const char *const format_words[] = {[ACCESS_FORMAT_TEXT] = "text", [ACCESS_FORMAT_JSON] = "json", NULL};
static const char *const event_words[] = {[ACCESS_AT_OPEN] = "open", [ACCESS_AT_CLOSE] = "close", NULL};
static const struct key event_key = {
    .name = "event", .type = KEY_WORD, .required = true, .offset = 0, .size = sizeof(uint32_t), .words = event_words};
static const struct key access_log_keys[] = {
    {.name = "target",
     .type = KEY_ACCESS_TARGET,
     VALUE(config_log, access_target),
     .fallback = "stdout",
     .help = "where lines about sessions go"},
    {.name = "format",
     .type = KEY_WORD,
     VALUE(config_log, access_format),
     .words = format_words,
     .fallback = "text",
     .help = "the line's form"},
    {.name = "when",
     .type = KEY_VALUES,
     .item = &event_key,
     ITEMS(config_log, access_when),
     .single = true,
     .fallback = "close",
     .help = "a line when a session has been let in, when it ends, or both"},
    {.name = "every",
     DURATION(config_log, access_every_ms, MS, 100 * MS, 365 * DAY),
     OFF,
     .fallback = "off",
     .help = "one more line about each session that lives on, whenever so much time has passed"},
    {.name = "skip_empty",
     .type = KEY_BOOL,
     VALUE(config_log, access_skip_empty),
     .fallback = "false",
     .help = "no line when a session without a byte was ended by a peer: port scans, health checks"},
    {.name = "tcp_info",
     .type = KEY_BOOL,
     VALUE(config_log, access_tcp_info),
     .fallback = "false",
     .help = "adds the round-trip time and the retransmissions of both connections"},
    {.name = NULL},
};
static const struct section access_log_section = {.keys = access_log_keys};

static const struct key log_keys[] = {
    {.name = "error", .type = KEY_SECTION, .section = &error_log_section},
    {.name = "access",
     .type = KEY_SECTION,
     .section = &access_log_section,
     VALUE(config_log, access_target),
     OFF,
     .help = "lines about sessions; `off` writes none"},
    {.name = NULL},
};
static const struct section log_section = {.keys = log_keys};

static const struct key process_keys[] = {
    {.name = "workers",
     .type = KEY_INTEGER,
     VALUE(config_process, workers),
     .min = 1,
     .max = 1024,
     .word = "auto",
     .fallback = "auto",
     .help = "threads that serve sessions; `auto`: one for each CPU that the process may use"},
    {.name = "user",
     .type = KEY_TEXT,
     VALUE(config_process, user),
     .fixed = true,
     .help = "who to become before anything is opened; when left out, who started it"},
    {.name = "max_connections",
     .type = KEY_INTEGER,
     VALUE(config_process, connections_max),
     .min = 1,
     .max = CONNECTIONS_MAX,
     .word = "auto",
     .fallback = "auto",
     .help = "sessions of all listeners at one time; `auto`: as many as the limit of open files allows"},
    {.name = NULL},
};
static const struct section process_section = {.keys = process_keys};

static const char *const splice_words[] = {"off", "auto", NULL};
static const struct key io_keys[] = {
    {.name = "sqpoll",
     .type = KEY_BOOL,
     VALUE(config_io, sqpoll),
     .fallback = "false",
     .fixed = true,
     .help = "a kernel thread for each worker picks up requests: fewer system calls for more CPU time"},
    {.name = "sqpoll_idle",
     DURATION(config_io, sqpoll_idle_ms, MS, MS, MINUTE),
     .fallback = "10ms",
     .fixed = true,
     .help = "how long that thread looks for requests before it sleeps"},
    {.name = "sqpoll_cpu",
     .type = KEY_INTEGER,
     VALUE(config_io, sqpoll_cpu),
     .min = 0,
     .max = 4095,
     .word = "any",
     .word_value = UINT32_MAX,
     .fallback = "any",
     .fixed = true,
     .help = "the CPU that it stays on"},
    {.name = "splice",
     .type = KEY_WORD,
     VALUE(config_io, splice),
     .words = splice_words,
     .fallback = "auto",
     .fixed = true,
     .help = "moves bulk data inside the kernel; `auto`: where that is cheaper"},
    {.name = "zero_copy_send",
     .type = KEY_BOOL,
     VALUE(config_io, zero_copy_send),
     .fallback = "false",
     .fixed = true,
     .help = "sends large data without a copy; pays on fast networks, not on loopback"},
    {.name = "busy_poll",
     DURATION(config_io, busy_poll_us, US, US, SECOND),
     OFF,
     .fallback = "off",
     .fixed = true,
     .help = "how long a worker looks for work before it sleeps, while that costs no more CPU time: shorter delays; "
             "`off`: not, but for 20 us in spliced bulk where that brings more"},
    {.name = NULL},
};
static const struct section io_section = {.keys = io_keys};

static const struct key path_key = {.name = "path", .type = KEY_PATTERN, .offset = 0, .size = sizeof(const char *)};
static const char *const libs_words[] = {"safe", "full", NULL};
static const struct key lua_keys[] = {
    {.name = "path",
     .type = KEY_VALUES,
     .item = &path_key,
     ITEMS(config_lua, paths),
     .single = true,
     .help = "where `require` looks, in this order; `?` stands for the module's name"},
    {.name = "memory",
     SIZE(config_lua, memory, MIB, 4 * GIB),
     .fallback = "64MiB",
     .help = "how much one Lua VM may use: a script has one in each worker"},
    {.name = "budget",
     DURATION(config_lua, budget_ms, MS, MS, 10 * SECOND),
     .fallback = "100ms",
     .help = "CPU time that a hook may take until it returns or waits"},
    {.name = "libs",
     .type = KEY_WORD,
     VALUE(config_lua, full_libraries),
     .words = libs_words,
     .fallback = "safe",
     .help = "`safe`: no way to files, processes and memory; `full`: everything that LuaJIT has"},
    {.name = "retired_max",
     .type = KEY_INTEGER,
     VALUE(config_lua, retired_max),
     .min = 1,
     .max = 1000,
     .fallback = "8",
     .help = "VMs that reloads have replaced and that still have sessions; beyond that the sessions of the oldest are "
             "closed"},
    {.name = "retire_timeout",
     DURATION(config_lua, retire_timeout_ms, MS, MS, 365 * DAY),
     OFF,
     .fallback = "1h",
     .help = "how long sessions may stay in a VM that a reload has replaced"},
    {.name = NULL},
};
static const struct section lua_section = {.keys = lua_keys};

static const struct key admin_bind_keys[] = {
    {.name = "address",
     .type = KEY_BIND_PATH,
     .required = true,
     .help = "the path of the socket; what was left behind there is replaced"},
    {.name = "mode",
     .type = KEY_MODE,
     VALUE(config_bind, mode),
     .absent = CONFIG_MODE_DEFAULT,
     .help = "permissions of the socket's file; when left out, 0600"},
    {.name = "group",
     .type = KEY_TEXT,
     VALUE(config_bind, group),
     .help = "group of the socket's file; when left out, the group of the process"},
    {.name = NULL},
};
static const struct section admin_bind_section = {
    .noun = "bind",
    .size = sizeof(struct config_bind),
    .name_offset = offsetof(struct config_bind, text),
    .shorthand = "address",
    .plain = "an address",
    .keys = admin_bind_keys,
};
static const struct key admin_keys[] = {
    {.name = "bind",
     .type = KEY_LIST,
     .section = &admin_bind_section,
     ITEMS(config_admin, binds),
     .single = true,
     .help =
         "where `moonring ctl` connects to: a unix path, `unix:/run/moonring/admin.sock`; who may is a matter of its "
         "`mode`, by default 0600"},
    {.name = NULL},
};
static const struct section admin_section = {.keys = admin_keys};

static const struct key metrics_bind_keys[] = {
    {.name = "address",
     .type = KEY_BIND_IP,
     .required = true,
     .help = "an IP address with a port; port 0 is any free one, which the log tells"},
    {.name = NULL},
};
static const struct section metrics_bind_section = {
    .noun = "bind",
    .size = sizeof(struct config_bind),
    .name_offset = offsetof(struct config_bind, text),
    .shorthand = "address",
    .plain = "an address",
    .keys = metrics_bind_keys,
};
static const struct key metrics_keys[] = {
    {.name = "bind",
     .type = KEY_LIST,
     .section = &metrics_bind_section,
     ITEMS(config_metrics, binds),
     .single = true,
     .help = "where `GET /metrics` answers with all counters in Prometheus' text format: `127.0.0.1:9102`; whoever can "
             "connect can read them. Without it nobody listens"},
    {.name = NULL},
};
static const struct section metrics_section = {.keys = metrics_keys};

static const struct key reload_keys[] = {
    {.name = "watch",
     .type = KEY_BOOL,
     VALUE(config, reload_watch),
     .fallback = "false",
     .help = "reload when a file that the configuration was read from, or a filter, has got another content"},
    {.name = NULL},
};
static const struct section reload_section = {.keys = reload_keys};

static const struct key shutdown_keys[] = {
    {.name = "drain_timeout",
     DURATION(config, drain_timeout_ms, MS, MS, 365 * DAY),
     OFF,
     .fallback = "60s",
     .help = "how long a stop lets sessions end by themselves; `off`: for ever"},
    {.name = NULL},
};
static const struct section shutdown_section = {.keys = shutdown_keys};

static const struct key defaults_keys[] = {
    {.name = "timeouts",
     .type = KEY_SECTION,
     .section = &timeouts_section,
     .base = offsetof(struct config_root, defaults.timeouts),
     .only_read = true,
     .like = "listeners.*.timeouts"},
    {.name = "tcp",
     .type = KEY_SECTION,
     .section = &tcp_section,
     .base = offsetof(struct config_root, defaults.tcp),
     .only_read = true,
     .like = "listeners.*.tcp"},
    {.name = NULL},
};
static const struct section defaults_section = {.keys = defaults_keys};

static const struct key include_key = {
    .name = "include", .type = KEY_INCLUDE, .offset = 0, .size = sizeof(const char *)};

/* `defaults` stands before the listeners, which begin with what it says. */
static const struct key config_keys[] = {
    {.name = "include",
     .type = KEY_VALUES,
     .item = &include_key,
     ITEMS(config_root, includes),
     .single = true,
     .only_read = true,
     .help = "files that belong to this one: maps of one name become one, and what is in two files is an error; only "
             "in the file that was named, and one without matches is fine"},
    {.name = "defaults", .type = KEY_SECTION, .section = &defaults_section},
    {.name = "listeners",
     .type = KEY_MAP,
     .section = &listener_section,
     ITEMS(config, listeners),
     .help = "what is accepted, and where it goes; at least one"},
    {.name = "upstreams",
     .type = KEY_MAP,
     .section = &upstream_section,
     ITEMS(config, upstreams),
     .help = "groups of servers"},
    {.name = "log", .type = KEY_SECTION, .section = &log_section, .base = offsetof(struct config, log)},
    {.name = "process", .type = KEY_SECTION, .section = &process_section, .base = offsetof(struct config, process)},
    {.name = "io", .type = KEY_SECTION, .section = &io_section, .base = offsetof(struct config, io)},
    {.name = "lua", .type = KEY_SECTION, .section = &lua_section, .base = offsetof(struct config, lua)},
    {.name = "admin", .type = KEY_SECTION, .section = &admin_section, .base = offsetof(struct config, admin)},
    {.name = "metrics", .type = KEY_SECTION, .section = &metrics_section, .base = offsetof(struct config, metrics)},
    {.name = "reload", .type = KEY_SECTION, .section = &reload_section},
    {.name = "shutdown", .type = KEY_SECTION, .section = &shutdown_section},
    {.name = NULL},
};
const struct section config_section = {.size = sizeof(struct config_root), .keys = config_keys};

const struct key *schema_find(const struct section *section, const char *name) {
    for (const struct key *key = section->keys; key->name != NULL; key++) {
        if (strcmp(key->name, name) == 0) {
            return key;
        }
    }
    return NULL;
}

uint64_t schema_load(const struct key *key, const void *record) {
    const char *at = (const char *)record + key->offset;
    uint8_t byte;
    uint32_t word;
    uint64_t value;
    switch (key->size) {
    case sizeof(byte):
        memcpy(&byte, at, sizeof(byte));
        return byte;
    case sizeof(word):
        memcpy(&word, at, sizeof(word));
        return word;
    default:
        check(key->size == sizeof(value));
        memcpy(&value, at, sizeof(value));
        return value;
    }
}

void schema_store(const struct key *key, void *record, uint64_t value) {
    char *at = (char *)record + key->offset;
    uint8_t byte = (uint8_t)value;
    uint32_t word = (uint32_t)value;
    switch (key->size) {
    case sizeof(byte):
        memcpy(at, &byte, sizeof(byte));
        break;
    case sizeof(word):
        memcpy(at, &word, sizeof(word));
        break;
    default:
        check(key->size == sizeof(value));
        memcpy(at, &value, sizeof(value));
        break;
    }
}
