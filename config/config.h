/* One loaded configuration: plain, immutable data. What the YAML says in text is numbers here, with the unit in the
 * name; a shorthand has become its long form, a default its value. 0 stands for `off` in every duration and limit. */
#ifndef MOONRING_CONFIG_CONFIG_H
#define MOONRING_CONFIG_CONFIG_H

#include "base/address.h"
#include "base/admission.h"
#include "base/log.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Where something stands: for messages about it that come after loading. */
struct config_place {
    const char *file; /* the configuration's */
    uint32_t line;    /* from 1; 0: `file` says it all ("command line: --to") */
    uint32_t column;  /* from 1 */
};

struct config_timeouts {
    uint64_t connect_ms;      /* absolute, each try */
    uint64_t preread_ms;      /* absolute: all `route` hooks together */
    uint64_t handshake_ms;    /* absolute: all `connected` hooks together */
    uint64_t idle_ms;         /* no byte either way */
    uint64_t half_close_ms;   /* after the first FIN: no byte in the open direction */
    uint64_t send_stall_ms;   /* data is waiting and the peer took none */
    uint64_t max_lifetime_ms; /* absolute, from accept */
};

/* Socket options of both sides of a listener's sessions. */
struct config_tcp {
    bool nodelay;
    bool keepalive;
    uint32_t keepalive_idle_s;
    uint32_t keepalive_interval_s;
    uint32_t keepalive_count;
    uint32_t backlog;
};

#define CONFIG_MODE_DEFAULT UINT32_MAX

/* An address to accept on. */
struct config_bind {
    struct config_place place;
    const char *text;       /* as written */
    struct address address; /* `:8080` is [::]:8080 with dual_stack */
    const char *socket;     /* the name of sockets that systemd passes; then `address` is only what they are known by,
                             * abstract like that of a unix socket. NULL: an address of our own */
    bool dual_stack;        /* IPv4 clients too; where IPv6 is off, IPv4 alone */
    uint32_t mode;          /* of a unix socket; CONFIG_MODE_DEFAULT: as umask has it */
    const char *group;      /* of a unix socket; NULL: the process' */
};

enum config_value_kind { CONFIG_VALUE_TEXT, CONFIG_VALUE_LIST, CONFIG_VALUE_MAP };

/* A piece of YAML as it is written: what it means is the script's business. */
struct config_value {
    struct config_place place;
    enum config_value_kind kind;
    const char *text;              /* of CONFIG_VALUE_TEXT; "" is possible only in quotes */
    bool quoted;                   /* CONFIG_VALUE_TEXT: it was not written plain: "10", not 10 */
    const char *key;               /* of an item of a map; else NULL */
    struct config_place key_place; /* where that key stands */
    const struct config_value *items;
    size_t items_count;
};

enum config_on_error { ON_ERROR_CLOSE, ON_ERROR_BYPASS };

/* One use of a script by a listener. */
struct config_filter {
    struct config_place place;
    const char *path;           /* absolute; whether the file is there shows when it is loaded */
    const char *name;           /* unique in the listener; default: the file's name without .lua */
    struct config_value params; /* a map; without items when nothing is written */
    enum config_on_error on_error;
    bool strict;              /* bytes held at the end are dropped, an overflow closes */
    uint32_t hold_max;        /* bytes of one direction */
    uint64_t hold_timeout_ms; /* without a new byte; 0: off */
    bool jit;
    bool isolate; /* it has a VM of its own */
};

enum config_proxy_accept { PROXY_ACCEPT_ANY, PROXY_ACCEPT_V1, PROXY_ACCEPT_V2 };

/* A listener's proxy_protocol. */
struct config_proxy_protocol {
    bool wanted; /* every connection has to begin with a PROXY header */
    enum config_proxy_accept accept;
    const char *const *trusted; /* as config_listener.allow */
    size_t trusted_count;
    const struct admission *trusted_admission; /* what it comes to; NULL: not wanted */
};

#define CONFIG_NO_UPSTREAM SIZE_MAX

/* What one source of clients, a block of addresses, may do. */
struct config_source_limits {
    uint32_t connections_max; /* at one time; 0: off */
    uint64_t rate_per_hour;   /* sessions that begin; 0: off */
    uint32_t burst;           /* of these at once; 0: as many as the rate allows in a second, at least 1 */
    uint32_t prefix_v4;       /* bits of an address that all of a source have in common, 1 to 32 */
    uint32_t prefix_v6;       /* 1 to 128 */
};

struct config_listener {
    struct config_place place;
    const char *name;
    struct config_bind *binds;
    size_t binds_count;
    size_t upstream;               /* index in config.upstreams; CONFIG_NO_UPSTREAM: a filter has to route or serve */
    struct config_filter *filters; /* the client's end first */
    size_t filters_count;
    struct config_proxy_protocol proxy_protocol;
    struct config_timeouts timeouts;
    uint32_t connections_max; /* 0: off */
    bool limits_sources;
    struct config_source_limits per_source; /* when limits_sources is set */
    uint64_t bandwidth;                     /* bytes a second, of each session and each direction; 0: off */
    struct config_tcp tcp;
    const char *const *allow; /* each a block of IP addresses, or `file:` and the absolute path of a list of them */
    size_t allow_count;
    const char *const *deny;
    size_t deny_count;
    const struct admission *admission; /* what both come to; NULL: everybody may come in */
};

enum config_balance { BALANCE_ROUND_ROBIN, BALANCE_LEAST_CONN, BALANCE_RANDOM, BALANCE_FIRST };

/* The PROXY header that begins each connection to a server. */
enum config_proxy_send { PROXY_SEND_OFF, PROXY_SEND_V1, PROXY_SEND_V2 };

struct config_server {
    struct config_place place;
    const char *name;         /* its identity in the upstream; default: the address as written */
    const char *address_text; /* as written */
    struct address address;   /* length 0 when host is set */
    const char *host;         /* a name to look up, or NULL */
    uint16_t port;            /* of host */
    uint32_t weight;          /* 1 to 1000 */
    uint32_t connections_max; /* 0: off */
    bool backup;              /* used only when every other server is out */
};

/* Connects to each server from time to time. */
struct config_health_check {
    bool on;
    uint64_t interval_ms;
    uint64_t timeout_ms;
    uint32_t rise; /* checks in a row that must pass until a server that is down is up, */
    uint32_t fall; /* and that must fail until one that is up is down */
};

/* Takes out servers that sessions cannot connect to. */
struct config_outlier_detection {
    bool on;
    uint32_t consecutive_failures;
    uint64_t ejection_time_ms; /* the first one; later ones are longer */
    uint32_t ejection_max;     /* percent of the upstream's servers */
};

/* What becomes of the sessions of a server that goes down, or that a reload removes. */
enum config_server_down { SERVER_DOWN_KEEP, SERVER_DOWN_DRAIN, SERVER_DOWN_RESET };

struct config_health {
    struct config_health_check check;
    struct config_outlier_detection outlier;
    enum config_server_down on_server_down;
    enum config_server_down on_removed;
    uint64_t slow_start_ms; /* how long a server that returns takes to its full share; 0: off */
};

struct config_upstream {
    struct config_place place;
    const char *name; /* of one made from a listener's `upstream: ADDR`: that address */
    struct config_server *servers;
    size_t servers_count;
    enum config_balance balance;
    enum config_proxy_send proxy_protocol;
    uint32_t retry_attempts;   /* tries in all, 1 to 16 */
    uint64_t retry_backoff_ms; /* wait before servers that were tried already are tried again */
    uint64_t connect_ms;       /* UINT64_MAX: not set here, the listener's connect_ms holds */
    struct config_health health;
};

enum config_access_format { ACCESS_FORMAT_TEXT, ACCESS_FORMAT_JSON };
enum config_access_event { ACCESS_AT_OPEN, ACCESS_AT_CLOSE };

struct config_log {
    const char *error_target; /* stderr, stdout or a path */
    enum log_level error_level;
    const char *access_target; /* stderr, stdout, a path, or `syslog:` and the path of a socket; NULL: off */
    enum config_access_format access_format;
    const uint32_t *access_when; /* each an enum config_access_event */
    size_t access_when_count;
    uint64_t access_every_ms; /* 0: off */
    bool access_skip_empty;
    bool access_tcp_info;
};

struct config_process {
    uint32_t workers;         /* 0: auto, one per CPU the process may use */
    const char *user;         /* NULL: stay who we are */
    uint32_t connections_max; /* 0: auto, from the descriptor limit */
};

struct config_io {
    bool sqpoll;
    uint64_t sqpoll_idle_ms;
    int32_t sqpoll_cpu; /* -1: any */
    bool splice;        /* auto or off */
    bool zero_copy_send;
    uint64_t busy_poll_us; /* 0: off */
};

/* What holds for every script. */
struct config_lua {
    const char *const *paths; /* where `require` looks: absolute patterns with one `?` */
    size_t paths_count;
    uint64_t memory;            /* bytes, each VM */
    uint64_t budget_ms;         /* CPU time of one entry */
    bool full_libraries;        /* everything that LuaJIT has, instead of the allow-list */
    uint32_t retired_max;       /* VMs of a worker that reloads have replaced and that still have sessions */
    uint64_t retire_timeout_ms; /* how long they may have; 0: off */
};

/* Where `moonring ctl` connects to. */
struct config_admin {
    struct config_bind *binds; /* one, a unix path; or none */
    size_t binds_count;
};

/* Where Prometheus scrapes. */
struct config_metrics {
    struct config_bind *binds; /* one, TCP; or none */
    size_t binds_count;
};

/* What was read to get here, so that it can be watched. */
struct config_file {
    const char *path;    /* absolute: of a file or, with a pattern, of a folder */
    const char *pattern; /* the files of the folder whose names match it, as fnmatch with FNM_PERIOD says; or NULL */
};

/* A file of addresses that listeners' rules name. */
struct config_address_file {
    const char *path; /* absolute */
    uint64_t hash;    /* hash_add of its content */
};

struct config {
    const struct config_file *files; /* none when the text did not come from a file and includes none */
    size_t files_count;
    const char *folder; /* where relative paths start: absolute; "" is the root of the file system */
    struct config_listener *listeners;
    size_t listeners_count;
    struct config_upstream *upstreams;
    size_t upstreams_count;
    const struct config_address_file *address_files; /* each once */
    size_t address_files_count;
    struct config_log log;
    struct config_process process;
    struct config_io io;
    struct config_lua lua;
    struct config_admin admin;
    struct config_metrics metrics;
    bool reload_watch;         /* reload.watch: reload when a file changes */
    uint64_t drain_timeout_ms; /* shutdown.drain_timeout; 0: off, wait for ever */
};

#endif
