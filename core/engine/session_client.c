#include "engine/session_parts.h"

#include "base/admission.h"
#include "engine/sources.h"

static bool session_has_filters(const struct session *session) {
    return settings_have_filters(session->settings);
}

static bool session_wants_peer(const struct session *session) {
    const struct settings *settings = session->settings;
    bool sends_header = settings->upstream != NULL && settings->upstream->proxy_version != 0;
    bool judges = settings_judge(settings) || settings->proxy_versions != 0;
    return settings->epoch->access_log != NULL || judges || sends_header || session_has_filters(session);
}

/* Asked for at once: a client that is gone has no address any more. */
void session_note_peer(struct session *session) {
    struct address address;
    if (!session_wants_peer(session) || kernel_peer_address(session->client_end.fd, &address) < 0) {
        return;
    }
    struct peer *peer = &session->peer;
    peer->family = (uint8_t)address_family(&address);
    if (peer->family == AF_INET) {
        peer->v4 = address.v4.sin_addr;
        peer->port = address.v4.sin_port;
    } else if (peer->family == AF_INET6) {
        peer->v6 = address.v6.sin6_addr;
        peer->port = address.v6.sin6_port;
        peer->scope = address.v6.sin6_scope_id;
    }
}

void session_direct_peer(const struct session *session, struct address *address) {
    const struct peer *peer = &session->peer;
    *address = (struct address){.length = 0}; /* a client that was gone at once has none */
    if (peer->family == AF_INET) {
        address->length = sizeof address->v4;
        address->v4 = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = peer->port, .sin_addr = peer->v4};
    } else if (peer->family == AF_INET6) {
        address->length = sizeof address->v6;
        address->v6 = (struct sockaddr_in6){
            .sin6_family = AF_INET6, .sin6_port = peer->port, .sin6_addr = peer->v6, .sin6_scope_id = peer->scope};
    } else if (peer->family == AF_UNIX) {
        address->length = sizeof(sa_family_t);
        address->any.sa_family = AF_UNIX;
    }
}

void session_peer(const struct session *session, struct address *peer) {
    if (session->introduction != NULL && session->introduction->header.source.length > 0) {
        *peer = session->introduction->header.source;
    } else {
        session_direct_peer(session, peer);
    }
}

void session_client(const struct session *session, struct address *address) {
    session_peer(session, address);
    bool noted = address->length > 0 && (!address_is_unix(address) || session->introduction != NULL);
    if (!noted && session->client_end.fd >= 0 && kernel_peer_address(session->client_end.fd, address) < 0) {
        address->length = 0;
    }
}

void session_destination(const struct session *session, struct address *address) {
    if (session->introduction != NULL && session->introduction->header.destination.length > 0) {
        *address = session->introduction->header.destination;
    } else if (kernel_local_address(session->client_end.fd, address) < 0) {
        address->length = 0;
    }
}

/* --- whether it may come in ----------------------------------------------------------------------------------------
 */

/* Rules and limits are about IP addresses: who may connect to a unix socket is a matter of its file's mode. */
static bool session_passes_rules(const struct session *session, const struct cidr_ip *ip) {
    const struct admission *admission = session->settings->admission;
    return admission == NULL || admission_allows(admission, ip);
}

static bool session_passes_limits(struct session *session, const struct cidr_ip *ip) {
    const struct settings *settings = session->settings;
    return settings->sources == NULL ||
           sources_enter(settings->sources, settings->per_source, ip, session->engine->now_us, &session->source);
}

/* It broke before it could be asked for its address, which the kernel then does not know any more. To let it in
 * uncounted would let whoever resets at once past every limit, up to the servers. */
static void session_end_unknown(struct session *session) {
    session->client_end.reset = true;
    session->error = "it was gone before its address was known";
    session_close(session, CLOSE_CLIENT_RESET);
}

/* A proxy whose client has no IP address answers for it with its own: otherwise it need only name a unix client to get
 * past rules and limits. */
static void session_judged_peer(const struct session *session, struct address *address) {
    session_peer(session, address);
    if (address_is_unix(address)) {
        session_direct_peer(session, address);
    }
}

bool session_is_let_in(struct session *session) {
    if (!settings_judge(session->settings)) {
        return true;
    }
    struct address address;
    struct cidr_ip ip;
    session_judged_peer(session, &address);
    if (address_is_unix(&address)) {
        return true;
    }
    if (!cidr_ip_of(&ip, &address)) {
        session_end_unknown(session);
        return false;
    }
    bool allowed = session_passes_rules(session, &ip);
    if (!allowed || !session_passes_limits(session, &ip)) {
        session_reset(session, allowed ? CLOSE_LIMIT_SOURCE : CLOSE_DENIED);
        return false;
    }
    return true;
}

/* Who may say that somebody else is the client. Who may connect to a unix socket is a matter of its file's mode. False:
 * the session is closed. */
bool session_trusts_peer(struct session *session) {
    struct address peer;
    struct cidr_ip ip;
    session_direct_peer(session, &peer);
    if (address_is_unix(&peer)) {
        return true;
    }
    if (!cidr_ip_of(&ip, &peer)) {
        session_end_unknown(session);
        return false;
    }
    if (!admission_allows(session->settings->trusted, &ip)) {
        session->error = "proxy_protocol.trusted does not name it";
        session_reset(session, CLOSE_DENIED);
        return false;
    }
    return true;
}
