#include "engine/reason.h"

const char *close_reason_name(enum close_reason reason) {
    switch (reason) {
    case CLOSE_CLIENT_FIN:
        return "client_fin";
    case CLOSE_SERVER_FIN:
        return "server_fin";
    case CLOSE_CLIENT_RESET:
        return "client_reset";
    case CLOSE_SERVER_RESET:
        return "server_reset";
    case CLOSE_REJECTED:
        return "rejected";
    case CLOSE_PROXY_HEADER:
        return "proxy_header";
    case CLOSE_FILTER_ERROR:
        return "filter_error";
    case CLOSE_FILTER_BUDGET:
        return "filter_budget";
    case CLOSE_FILTER_HOLD:
        return "filter_hold";
    case CLOSE_TIMEOUT_PREREAD:
        return "timeout_preread";
    case CLOSE_TIMEOUT_CONNECT:
        return "timeout_connect";
    case CLOSE_TIMEOUT_HANDSHAKE:
        return "timeout_handshake";
    case CLOSE_TIMEOUT_IDLE:
        return "timeout_idle";
    case CLOSE_TIMEOUT_HALF_CLOSE:
        return "timeout_half_close";
    case CLOSE_TIMEOUT_SEND_STALL:
        return "timeout_send_stall";
    case CLOSE_TIMEOUT_LIFETIME:
        return "timeout_lifetime";
    case CLOSE_DENIED:
        return "denied";
    case CLOSE_LIMIT_SOURCE:
        return "limit_source";
    case CLOSE_NO_SERVER:
        return "no_server";
    case CLOSE_UPSTREAM_FULL:
        return "upstream_full";
    case CLOSE_SERVER_DOWN:
        return "server_down";
    case CLOSE_DRAINED:
        return "drained";
    case CLOSE_RETIRED:
        return "retired";
    case CLOSE_KILLED:
        return "killed";
    case CLOSE_SHUTDOWN:
        return "shutdown";
    case CLOSE_RESOURCES:
        return "resources";
    }
    return "unknown";
}

const char *close_reason_ended_by(enum close_reason reason) {
    switch (reason) {
    case CLOSE_CLIENT_FIN:
    case CLOSE_CLIENT_RESET:
        return "client";
    case CLOSE_SERVER_FIN:
    case CLOSE_SERVER_RESET:
        return "server";
    case CLOSE_REJECTED:
        return "filter";
    case CLOSE_PROXY_HEADER:
    case CLOSE_FILTER_ERROR:
    case CLOSE_FILTER_BUDGET:
    case CLOSE_FILTER_HOLD:
    case CLOSE_TIMEOUT_PREREAD:
    case CLOSE_TIMEOUT_CONNECT:
    case CLOSE_TIMEOUT_HANDSHAKE:
    case CLOSE_TIMEOUT_IDLE:
    case CLOSE_TIMEOUT_HALF_CLOSE:
    case CLOSE_TIMEOUT_SEND_STALL:
    case CLOSE_TIMEOUT_LIFETIME:
    case CLOSE_DENIED:
    case CLOSE_LIMIT_SOURCE:
    case CLOSE_NO_SERVER:
    case CLOSE_UPSTREAM_FULL:
    case CLOSE_SERVER_DOWN:
    case CLOSE_DRAINED:
    case CLOSE_RETIRED:
    case CLOSE_KILLED:
    case CLOSE_SHUTDOWN:
    case CLOSE_RESOURCES:
        return "moonring";
    }
    return "moonring";
}
