/* Why a session ended: one list for the access log, counters and messages. */
#ifndef MOONRING_ENGINE_REASON_H
#define MOONRING_ENGINE_REASON_H

enum close_reason {
    CLOSE_CLIENT_FIN,   /* both sides ended in order, the client first */
    CLOSE_SERVER_FIN,   /* the server first */
    CLOSE_CLIENT_RESET, /* the client's connection broke or was reset */
    CLOSE_SERVER_RESET,
    CLOSE_REJECTED,          /* a filter closed it */
    CLOSE_PROXY_HEADER,      /* it did not begin with a good PROXY header */
    CLOSE_FILTER_ERROR,      /* a filter failed */
    CLOSE_FILTER_BUDGET,     /* a filter, or another one of its VM, ran for too long or took too much memory */
    CLOSE_FILTER_HOLD,       /* a filter held more bytes, or held them longer, than it may */
    CLOSE_TIMEOUT_PREREAD,   /* the PROXY header or the route hooks took too long */
    CLOSE_TIMEOUT_CONNECT,   /* the last server that was tried did not answer in time */
    CLOSE_TIMEOUT_HANDSHAKE, /* the connected hooks took too long */
    CLOSE_TIMEOUT_IDLE,
    CLOSE_TIMEOUT_HALF_CLOSE,
    CLOSE_TIMEOUT_SEND_STALL,
    CLOSE_TIMEOUT_LIFETIME,
    CLOSE_DENIED,        /* allow and deny of the listener keep the client out */
    CLOSE_LIMIT_SOURCE,  /* limits.per_source */
    CLOSE_NO_SERVER,     /* every try failed */
    CLOSE_UPSTREAM_FULL, /* every server has its max_connections */
    CLOSE_SERVER_DOWN,   /* its server went down, or was removed, which resets them */
    CLOSE_DRAINED,       /* its server is down, and the time to drain is over */
    CLOSE_RETIRED,       /* reloads have replaced its filters too often, or too long ago */
    CLOSE_KILLED,        /* an operator closed it */
    CLOSE_SHUTDOWN,      /* moonring stops */
    CLOSE_RESOURCES,     /* descriptors or memory ran out */
};
enum { CLOSE_REASONS = CLOSE_RESOURCES + 1 };

const char *close_reason_name(enum close_reason reason);
/* client, server or moonring. */
const char *close_reason_ended_by(enum close_reason reason);

#endif
