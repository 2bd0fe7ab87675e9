/* One loaded configuration: plain, immutable data. What the YAML says in text is numbers here, with the unit in the
 * name; a shorthand has become its long form, a default its value. 0 stands for `off` in every duration and limit. */
#ifndef MOONRING_CONFIG_CONFIG_H
#define MOONRING_CONFIG_CONFIG_H

#include "base/address.h"
#include "base/log.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Where something stands: for messages about it that come after loading. */
struct config_place {
    const char *file; /* the configuration's */
    uint32_t line;    /* from 1; 0: nowhere (a default, the command line) */
    uint32_t column;  /* from 1 */
};

struct config_timeouts {
    uint64_t connect_ms;      /* absolute, each try */
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
    bool dual_stack;        /* IPv4 clients too; where IPv6 is off, IPv4 alone */
    uint32_t mode;          /* of a unix socket; CONFIG_MODE_DEFAULT: as umask has it */
    const char *group;      /* of a unix socket; NULL: the process' */
};

struct config_listener {
    struct config_place place;
    const char *name;
    struct config_bind *binds;
    size_t binds_count;
    size_t upstream; /* index in config.upstreams */
    struct config_timeouts timeouts;
    uint32_t connections_max; /* 0: off */
    struct config_tcp tcp;
};

enum config_balance { BALANCE_ROUND_ROBIN, BALANCE_LEAST_CONN, BALANCE_RANDOM, BALANCE_FIRST };

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

struct config_upstream {
    struct config_place place;
    const char *name; /* of one made from a listener's `upstream: ADDR`: that address */
    struct config_server *servers;
    size_t servers_count;
    enum config_balance balance;
    uint32_t retry_attempts;   /* tries in all, 1 to 16 */
    uint64_t retry_backoff_ms; /* wait before servers that were tried already are tried again */
    uint64_t connect_ms;       /* UINT64_MAX: not set here, the listener's connect_ms holds */
};

enum config_access_format { ACCESS_FORMAT_TEXT, ACCESS_FORMAT_JSON };

struct config_log {
    const char *error_target; /* stderr, stdout or a path */
    enum log_level error_level;
    const char *access_target; /* stderr, stdout or a path; NULL: off */
    enum config_access_format access_format;
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

struct config {
    struct config_listener *listeners;
    size_t listeners_count;
    struct config_upstream *upstreams;
    size_t upstreams_count;
    struct config_log log;
    struct config_process process;
    struct config_io io;
    uint64_t drain_timeout_ms; /* shutdown.drain_timeout; 0: off, wait for ever */
};

#endif
