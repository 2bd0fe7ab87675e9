#include "tests/support/traffic.h"

#include "tests/support/deadline.h"
#include "tests/support/pattern.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <linux/sockios.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    PIECE_SIZE = 65536,
    STRANGERS_MAX = 256,
    SERVER_COMES_MS = 2000, /* after its client has gone; a number that comes later is nobody's */
};

/* --- one side ---------------------------------------------------------------------------------------------------- */

static void side_begin(struct side *side, const struct script *script) {
    side->script = *script;
    side->begin_ms = deadline_after((int)script->delay_ms);
    side->write_at_ms = side->begin_ms;
    side->read_at_ms = side->begin_ms;
    int domain = 0;
    socklen_t size = sizeof(domain);
    getsockopt(side->peer.fd, SOL_SOCKET, SO_DOMAIN, &domain, &size);
    side->is_unix = domain == AF_UNIX;
}

static void side_leave(struct side *side) {
    int kept = 0;
    /* What a unix socket has sent lies with its receiver already. */
    if (!side->is_unix && ioctl(side->peer.fd, SIOCOUTQ, &kept) == 0) {
        side->kept = (uint64_t)kept;
    }
    if (side->script.end == ENDS_WITH_RESET) {
        peer_reset(&side->peer);
    } else {
        peer_close(&side->peer);
    }
    side->ended = true;
    side->gone = true;
}

static bool side_has_said_all(const struct side *side) {
    return side->peer.sent >= side->script.send_size || side->broken;
}

/* Ends, once it is time to. True when it did something. */
static bool side_end(struct side *side, uint64_t now_ms) {
    if (side->gone || side->peer.fd < 0 || now_ms < side->begin_ms) {
        return false;
    }
    bool cuts = side->script.end != ENDS_WITH_FIN;
    if (side->seen == SEEN_RESET || (side->seen == SEEN_FIN && side_has_said_all(side)) ||
        (cuts && (side_has_said_all(side) || side->peer.received >= side->script.receive_max))) {
        side_leave(side);
        return true;
    }
    if (!side->ended && side_has_said_all(side)) {
        side->ended = true;
        shutdown(side->peer.fd, SHUT_WR); /* fails where the other side has reset it: the next read tells */
        return true;
    }
    return false;
}

static void side_write(struct side *side, uint64_t now_ms) {
    char piece[PIECE_SIZE];
    struct peer *peer = &side->peer;
    uint64_t left = side->script.send_size - peer->sent;
    size_t size = left < side->script.write_size ? (size_t)left : side->script.write_size;
    pattern_fill(peer->send_stream, peer->sent, piece, size);
    ssize_t sent = send(peer->fd, piece, size, MSG_NOSIGNAL);
    if (sent > 0) {
        peer->sent += (uint64_t)sent;
        side->write_at_ms = now_ms + side->script.write_pause_ms;
    } else if (errno != EAGAIN) {
        cr_assert(errno == EPIPE || errno == ECONNRESET, "%s: cannot send: %m", peer->name);
        side->broken = true;
    }
}

static void side_read(struct side *side, uint64_t now_ms) {
    char piece[PIECE_SIZE];
    struct peer *peer = &side->peer;
    ssize_t received = recv(peer->fd, piece, side->script.read_size, 0);
    if (received > 0) {
        size_t same = pattern_compare(peer->receive_stream, peer->received, piece, (size_t)received);
        cr_assert(same == (size_t)received, "%s: byte %lu of stream %lu is not the one that was sent", peer->name,
                  peer->received + same, peer->receive_stream);
        peer->received += (uint64_t)received;
        side->read_at_ms = now_ms + side->script.read_pause_ms;
    } else if (received == 0) {
        side->seen = side->broken ? SEEN_RESET : SEEN_FIN;
    } else if (errno != EAGAIN) {
        cr_assert(errno == ECONNRESET || errno == EPIPE, "%s: cannot receive: %m", peer->name);
        side->seen = SEEN_RESET;
    }
}

/* When it can move next: 0 as soon as its socket lets it, UINT64_MAX never; `events` is what to wait for until then. */
static uint64_t side_wants(const struct side *side, uint64_t now_ms, short *events) {
    uint64_t next_ms = UINT64_MAX;
    *events = 0;
    if (side->gone || side->peer.fd < 0) {
        return next_ms;
    }
    if (!side_has_said_all(side)) {
        *events |= side->write_at_ms <= now_ms ? POLLOUT : 0;
        next_ms = side->write_at_ms;
    }
    if (side->seen == SEEN_NOTHING) {
        *events |= side->read_at_ms <= now_ms ? POLLIN : 0;
        next_ms = side->read_at_ms < next_ms ? side->read_at_ms : next_ms;
    }
    return next_ms;
}

/* True when it did something. */
static bool side_step(struct side *side, short wanted, short events, uint64_t now_ms) {
    const short trouble = POLLERR | POLLHUP;
    if ((wanted & POLLIN) != 0 && (events & (POLLIN | trouble)) != 0) {
        side_read(side, now_ms);
    }
    if ((wanted & POLLOUT) != 0 && (events & (POLLOUT | trouble)) != 0) {
        side_write(side, now_ms);
    }
    return events != 0;
}

/* --- judging ----------------------------------------------------------------------------------------------------- */

/* One direction. A side that left before it had seen how the other one ended has seen nothing wrong. */
static void judge(const struct session *session, const struct side *from, const struct side *to) {
    const char *name = from->peer.name;
    uint64_t number = session->number;
    uint64_t sent = from->peer.sent;
    uint64_t received = to->peer.received;
    bool cuts = from->script.end != ENDS_WITH_FIN;
    cr_assert(received <= sent, "session %lu: %lu bytes of the %s's %lu", number, received, name, sent);
    if (to->seen == SEEN_NOTHING) {
        return;
    }
    cr_assert(received + from->kept >= sent,
              "session %lu: of %lu bytes of the %s %lu came, and only %lu were still with it when it left", number,
              sent, name, received, from->kept);
    if (to->seen == SEEN_RESET) {
        cr_assert(cuts, "session %lu: a reset behind %lu of %lu bytes of the %s, which had cut nothing", number,
                  received, sent, name);
    } else if (!cuts || (!to->is_unix && !from->is_unix)) {
        cr_assert(received == sent, "session %lu: an orderly end behind %lu of %lu bytes of the %s", number, received,
                  sent, name);
        cr_assert(from->script.end != ENDS_WITH_RESET,
                  "session %lu: an orderly end instead of the %s's reset behind %lu bytes", number, name, sent);
    }
}

static void session_judge(const struct session *session) {
    const struct side *client = &session->client;
    if (session->has_server) {
        judge(session, client, &session->server);
        judge(session, &session->server, client);
    } else if (session->wants_server) {
        cr_assert(client->seen == SEEN_NOTHING && client->script.end != ENDS_WITH_FIN,
                  "session %lu: its client got an end from a server that was never there", session->number);
    }
    cr_assert(session->has_server || client->peer.received == 0, "session %lu: bytes from nobody", session->number);
}

static bool session_is_over(const struct session *session, uint64_t now_ms) {
    if (!session->client.gone) {
        return false;
    }
    if (session->has_server) {
        return session->server.gone;
    }
    return !session->wants_server || now_ms - session->client_gone_ms > SERVER_COMES_MS;
}

static void session_end_if_over(struct traffic *traffic, struct session *session, uint64_t now_ms) {
    if (session->client.gone && session->client_gone_ms == 0) {
        session->client_gone_ms = now_ms;
    }
    if (!session_is_over(session, now_ms)) {
        return;
    }
    session_judge(session);
    traffic->bytes += session->client.peer.received + session->server.peer.received;
    session->number = 0;
    traffic->active--;
}

/* --- strangers --------------------------------------------------------------------------------------------------- */

static struct session *session_find(struct traffic *traffic, uint64_t number) {
    for (size_t index = 0; index < traffic->sessions_max; index++) {
        struct session *session = &traffic->sessions[index];
        if (session->number == number && session->wants_server && !session->has_server) {
            return session;
        }
    }
    return NULL;
}

static void stranger_accept(struct traffic *traffic, const struct peer_listener *listener) {
    for (size_t index = 0; index < STRANGERS_MAX; index++) {
        if (traffic->strangers[index] < 0) {
            traffic->strangers[index] = accept4(listener->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
            return;
        }
    }
}

static void server_begin(struct session *session, int fd) {
    struct side *server = &session->server;
    session->has_server = true;
    server->peer.fd = fd;
    int yes = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof(yes)); /* fails for unix sockets */
    side_begin(server, &server->script);
}

/* Its number is there, or it ended without one: its client left at once. */
static void stranger_look(struct traffic *traffic, int *stranger) {
    uint64_t number = 0;
    ssize_t size = recv(*stranger, &number, sizeof(number), MSG_PEEK);
    if ((size < 0 && errno == EAGAIN) || (size > 0 && size < (ssize_t)sizeof(number))) {
        return;
    }
    struct session *session = size > 0 ? session_find(traffic, number) : NULL;
    if (session != NULL) {
        cr_assert(recv(*stranger, &number, sizeof(number), 0) == sizeof(number));
        server_begin(session, *stranger);
    } else {
        close(*stranger);
    }
    *stranger = -1;
}

/* --- all of it --------------------------------------------------------------------------------------------------- */

void traffic_init(struct traffic *traffic, size_t sessions_max, struct peer_listener *listeners,
                  size_t listeners_count) {
    *traffic =
        (struct traffic){.sessions_max = sessions_max, .listeners = listeners, .listeners_count = listeners_count};
    traffic->sessions = calloc(sessions_max, sizeof(*traffic->sessions));
    traffic->strangers = malloc(STRANGERS_MAX * sizeof(*traffic->strangers));
    traffic->polls = calloc(listeners_count + STRANGERS_MAX + 2 * sessions_max, sizeof(*traffic->polls));
    cr_assert(traffic->sessions != NULL && traffic->strangers != NULL && traffic->polls != NULL);
    memset(traffic->strangers, -1, STRANGERS_MAX * sizeof(*traffic->strangers));
}

void traffic_finish(struct traffic *traffic) {
    cr_assert(traffic->active == 0);
    for (size_t index = 0; index < STRANGERS_MAX; index++) {
        close(traffic->strangers[index]);
    }
    free(traffic->sessions);
    free(traffic->strangers);
    free(traffic->polls);
}

bool traffic_has_room(const struct traffic *traffic) {
    return traffic->active < traffic->sessions_max;
}

static struct session *session_take(struct traffic *traffic) {
    cr_assert(traffic_has_room(traffic));
    struct session *session = traffic->sessions;
    while (session->number != 0) {
        session++;
    }
    return session;
}

void traffic_open(struct traffic *traffic, const char *address, const struct script *client,
                  const struct script *server) {
    struct session *session = session_take(traffic);
    *session = (struct session){.number = ++traffic->opened, .wants_server = server != NULL};
    struct peer *peer = &session->client.peer;
    peer_connect(peer, address);
    if (send(peer->fd, &session->number, sizeof(session->number), MSG_NOSIGNAL) < 0) {
        session->client.broken = true; /* turned away already */
    }
    session->server.peer = (struct peer){.fd = -1, .name = "server"};
    peer->send_stream = session->server.peer.receive_stream = 2 * session->number;
    peer->receive_stream = session->server.peer.send_stream = 2 * session->number + 1;
    if (server != NULL) {
        session->server.script = *server;
    }
    side_begin(&session->client, client);
    traffic->active++;
    traffic->moved_ms = deadline_now_ms();
}

/* What is polled stands in this order: listeners, strangers, then client and server of each session. Returns how many.
 */
static size_t polls_fill(struct traffic *traffic, uint64_t now_ms, uint64_t *next_ms) {
    struct pollfd *next = traffic->polls;
    for (size_t index = 0; index < traffic->listeners_count; index++) {
        *next++ = (struct pollfd){.fd = traffic->listeners[index].fd, .events = POLLIN};
    }
    for (size_t index = 0; index < STRANGERS_MAX; index++) {
        *next++ = (struct pollfd){.fd = traffic->strangers[index], .events = POLLIN};
    }
    for (size_t index = 0; index < 2 * traffic->sessions_max; index++) {
        const struct session *session = &traffic->sessions[index / 2];
        const struct side *side = index % 2 == 0 ? &session->client : &session->server;
        short events = 0;
        uint64_t at_ms = session->number == 0 ? UINT64_MAX : side_wants(side, now_ms, &events);
        *next_ms = at_ms > now_ms && at_ms < *next_ms ? at_ms : *next_ms;
        *next++ = (struct pollfd){.fd = events == 0 ? -1 : side->peer.fd, .events = events};
    }
    return (size_t)(next - traffic->polls);
}

/* True when it did something. */
static bool session_step(struct traffic *traffic, struct session *session, const struct pollfd polls[2],
                         uint64_t now_ms) {
    bool moved = side_step(&session->client, polls[0].events, polls[0].revents, now_ms);
    moved = side_step(&session->server, polls[1].events, polls[1].revents, now_ms) || moved;
    moved = side_end(&session->client, now_ms) || moved;
    moved = side_end(&session->server, now_ms) || moved;
    session_end_if_over(traffic, session, now_ms);
    return moved;
}

/* Sessions first: who comes in now was not asked for. */
static void traffic_move(struct traffic *traffic, uint64_t now_ms) {
    const struct pollfd *listeners = traffic->polls;
    const struct pollfd *strangers = listeners + traffic->listeners_count;
    const struct pollfd *sessions = strangers + STRANGERS_MAX;
    for (size_t index = 0; index < traffic->sessions_max; index++) {
        struct session *session = &traffic->sessions[index];
        if (session->number != 0 && session_step(traffic, session, &sessions[2 * index], now_ms)) {
            traffic->moved_ms = now_ms;
        }
    }
    for (size_t index = 0; index < STRANGERS_MAX; index++) {
        if (strangers[index].revents != 0) {
            stranger_look(traffic, &traffic->strangers[index]);
        }
    }
    for (size_t index = 0; index < traffic->listeners_count; index++) {
        if (listeners[index].revents != 0) {
            stranger_accept(traffic, &traffic->listeners[index]);
        }
    }
}

void traffic_turn(struct traffic *traffic, int milliseconds) {
    uint64_t now_ms = deadline_now_ms();
    uint64_t next_ms = now_ms + (uint64_t)milliseconds;
    size_t count = polls_fill(traffic, now_ms, &next_ms);
    poll(traffic->polls, count, deadline_left_ms(next_ms));
    now_ms = deadline_now_ms();
    traffic_move(traffic, now_ms);
    cr_assert(traffic->active == 0 || now_ms < traffic->moved_ms + DEADLINE_MS, "nothing moves in %zu sessions",
              traffic->active);
}

void traffic_run(struct traffic *traffic) {
    while (traffic->active > 0) {
        traffic_turn(traffic, 100);
    }
}

static void side_come_to_an_end(struct side *side) {
    if (side->script.send_size == ENDLESS) {
        side->script.send_size = side->peer.sent;
    }
}

void traffic_come_to_an_end(struct traffic *traffic) {
    for (size_t index = 0; index < traffic->sessions_max; index++) {
        side_come_to_an_end(&traffic->sessions[index].client);
        side_come_to_an_end(&traffic->sessions[index].server);
    }
}
