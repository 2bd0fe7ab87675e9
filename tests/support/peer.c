#include "tests/support/peer.h"

#include "tests/support/deadline.h"
#include "tests/support/pattern.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/sockios.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/random.h>
#include <unistd.h>

enum { PIECE_SIZE = 65536, SEND_MAX = 1 << 20, STUCK_MS = 200, TRANSFERS_MAX = 256 };

static struct address address_of(const char *text) {
    struct address address;
    struct error error;
    cr_assert(address_parse(&address, text, true, &error), "%s: %s", text, error.text);
    return address;
}

static int socket_open(const struct address *address) {
    int fd = socket(address_family(address), SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    cr_assert(fd >= 0, "socket: %m");
    return fd;
}

/* Tests run side by side, and between the look at a port and the server that listens there another one may look, too:
 * it finds this name taken, which is ours until this process ends. */
static bool port_reserve(uint16_t port) {
    struct address name = {.local.sun_family = AF_UNIX};
    int length = snprintf(name.local.sun_path + 1, sizeof(name.local.sun_path) - 1, "moonring-test-port-%u", port);
    name.length = (socklen_t)offsetof(struct sockaddr_un, sun_path) + 1 + (socklen_t)length;
    int fd = socket_open(&name);
    if (bind(fd, &name.any, name.length) == 0) {
        return true; /* and it stays open */
    }
    close(fd);
    return false;
}

static bool port_is_free(const struct address *address) {
    int fd = socket_open(address);
    bool is_free = bind(fd, &address->any, address->length) == 0;
    close(fd);
    return is_free;
}

uint16_t peer_free_port(void) {
    enum { PORT_FIRST = 20000, PORTS = 10000 };
    for (;;) {
        uint16_t port = 0;
        cr_assert(getrandom(&port, sizeof(port), 0) == sizeof(port));
        struct address address = address_of("127.0.0.1:0");
        address_set_port(&address, (uint16_t)(PORT_FIRST + port % PORTS));
        if (port_reserve(address_port(&address)) && port_is_free(&address)) {
            return address_port(&address);
        }
    }
}

static bool wait_for(int fd, short events, int milliseconds) {
    struct pollfd one = {.fd = fd, .events = events};
    return poll(&one, 1, milliseconds) == 1;
}

/* --- listening --------------------------------------------------------------------------------------------------- */

void peer_refuse(struct peer_listener *listener, const char *text) {
    struct address address = address_of(text);
    listener->fd = socket_open(&address);
    int yes = 1;
    setsockopt(listener->fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes));
    if (address_family(&address) == AF_INET && address_port(&address) == 0) {
        address_set_port(&address, peer_free_port()); /* the kernel takes back a port that it has chosen itself */
    }
    cr_assert(bind(listener->fd, &address.any, address.length) == 0, "cannot bind %s: %m", text);
    address.length = sizeof(address) - offsetof(struct address, any);
    cr_assert(getsockname(listener->fd, &address.any, &address.length) == 0);
    address_format(&address, listener->address, sizeof(listener->address));
}

void peer_listener_open(struct peer_listener *listener) {
    cr_assert(listen(listener->fd, SOMAXCONN) == 0, "cannot listen on %s: %m", listener->address);
}

void peer_listen(struct peer_listener *listener, const char *address) {
    peer_refuse(listener, address);
    peer_listener_open(listener);
}

void peer_blackhole(struct peer_listener *listener) {
    peer_refuse(listener, "127.0.0.1:0");
    cr_assert(listen(listener->fd, 0) == 0);
    struct address address = address_of(listener->address);
    /* A queue of 0 holds one; the kernel drops the handshakes of all further ones. It stays open on purpose: the end
     * of the test closes it. */
    int filler = socket_open(&address);
    connect(filler, &address.any, address.length);
    cr_assert(wait_for(listener->fd, POLLIN, DEADLINE_MS));
}

void peer_listener_unblock(struct peer_listener *listener) {
    peer_listener_open(listener); /* with a longer queue */
    int filler = accept(listener->fd, NULL, NULL);
    cr_assert(filler >= 0);
    close(filler);
}

/* The port stays bound, or another test might listen there a moment later. */
void peer_listener_close(struct peer_listener *listener) {
    struct address address = address_of(listener->address);
    if (address_is_unix(&address)) {
        close(listener->fd);
        listener->fd = -1;
    } else {
        cr_assert(shutdown(listener->fd, SHUT_RD) == 0, "cannot close %s: %m", listener->address);
    }
}

bool peer_listener_has_client(const struct peer_listener *listener, int milliseconds) {
    return wait_for(listener->fd, POLLIN, milliseconds);
}

/* --- one peer ---------------------------------------------------------------------------------------------------- */

static void peer_init(struct peer *peer, const char *name, int fd) {
    *peer = (struct peer){.fd = fd, .name = name};
    int yes = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof(yes)); /* fails for unix sockets */
}

static int socket_connect(int fd, const char *text) {
    struct address address = address_of(text);
    if (connect(fd, &address.any, address.length) == 0) {
        return 0;
    }
    if (errno != EINPROGRESS && errno != EAGAIN) {
        return errno;
    }
    if (!wait_for(fd, POLLOUT, DEADLINE_MS)) {
        return ETIMEDOUT;
    }
    int error = 0;
    socklen_t size = sizeof(error);
    getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size);
    return error;
}

void peer_connect_socket(struct peer *client, int fd, const char *address) {
    fcntl(fd, F_SETFL, O_NONBLOCK);
    int error = socket_connect(fd, address);
    cr_assert(error == 0, "client: cannot connect to %s: %s", address, strerror(error));
    peer_init(client, "client", fd);
}

int peer_try_connect(struct peer *client, const char *text) {
    struct address address = address_of(text);
    int fd = socket_open(&address);
    int error = socket_connect(fd, text);
    if (error != 0) {
        close(fd);
        return error;
    }
    peer_init(client, "client", fd);
    return 0;
}

void peer_connect(struct peer *client, const char *address) {
    int error = peer_try_connect(client, address);
    cr_assert(error == 0, "client: cannot connect to %s: %s", address, strerror(error));
}

void peer_wait_for_server(const char *address) {
    struct peer client;
    for (uint64_t deadline_ms = deadline_after(DEADLINE_MS); peer_try_connect(&client, address) != 0;) {
        cr_assert(deadline_left_ms(deadline_ms) > 0, "no server came up at %s", address);
        deadline_pause(10);
    }
    peer_close(&client);
}

void peer_accept(struct peer *server, const struct peer_listener *listener) {
    cr_assert(peer_listener_has_client(listener, DEADLINE_MS), "server: nobody connected to %s", listener->address);
    int fd = accept4(listener->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    cr_assert(fd >= 0, "server: accept: %m");
    peer_init(server, "server", fd);
}

/* Sends what the socket takes at once; 0 when it takes nothing now. */
static size_t send_some(struct peer *peer, const char *bytes, size_t size) {
    ssize_t sent = send(peer->fd, bytes, size, MSG_NOSIGNAL);
    if (sent >= 0) {
        return (size_t)sent;
    }
    cr_assert(errno == EAGAIN, "%s: cannot send after %lu bytes: %m", peer->name, peer->sent);
    return 0;
}

void peer_send(struct peer *peer, const char *text) {
    for (size_t done = 0, size = strlen(text); done < size;) {
        cr_assert(wait_for(peer->fd, POLLOUT, DEADLINE_MS), "%s: nobody takes \"%s\"", peer->name, text);
        done += send_some(peer, text + done, size - done);
    }
}

/* At least one byte, or 0 at the end of the stream, or -errno; -ETIMEDOUT when the deadline passes. */
static ssize_t receive_some(struct peer *peer, char *bytes, size_t size) {
    if (!wait_for(peer->fd, POLLIN, DEADLINE_MS)) {
        return -ETIMEDOUT;
    }
    ssize_t received = recv(peer->fd, bytes, size, 0);
    return received < 0 ? -errno : received;
}

void peer_expect(struct peer *peer, const char *text) {
    char received[4096];
    size_t size = strlen(text);
    cr_assert(size < sizeof(received));
    for (size_t done = 0; done < size;) {
        ssize_t some = receive_some(peer, received + done, size - done);
        cr_assert(some > 0, "%s: wants \"%s\", got %zu bytes and then %s", peer->name, text, done,
                  some == 0 ? "the end" : strerror((int)-some));
        done += (size_t)some;
        cr_assert(memcmp(received, text, done) == 0, "%s: wants \"%s\", got \"%.*s\"", peer->name, text, (int)done,
                  received);
    }
}

/* One write of `size` bytes, SEND_MAX at the most. */
static size_t send_pattern_some(struct peer *peer, size_t size) {
    char piece[SEND_MAX];
    size = size < sizeof(piece) ? size : sizeof(piece);
    pattern_fill(peer->send_stream, peer->sent, piece, size);
    size_t sent = send_some(peer, piece, size);
    peer->sent += sent;
    return sent;
}

void peer_send_pattern(struct peer *peer, size_t size) {
    while (size > 0) {
        cr_assert(wait_for(peer->fd, POLLOUT, DEADLINE_MS), "%s: nobody takes its bytes after %lu, %zu to go",
                  peer->name, peer->sent, size);
        size -= send_pattern_some(peer, size < PIECE_SIZE ? size : PIECE_SIZE);
    }
}

size_t peer_send_until_stuck(struct peer *peer, size_t size) {
    uint64_t start = peer->sent;
    struct transfer transfer = {.peer = peer, .send = size};
    transfers_run_until_stuck(&transfer, 1);
    return peer->sent - start;
}

static void pattern_check(struct peer *peer, const char *bytes, size_t size) {
    size_t same = pattern_compare(peer->receive_stream, peer->received, bytes, size);
    cr_assert(same == size, "%s: byte %lu is not the one that was sent (lost, doubled, reordered or another session's)",
              peer->name, peer->received + same);
    peer->received += size;
}

void peer_expect_pattern(struct peer *peer, size_t size) {
    char piece[PIECE_SIZE];
    while (size > 0) {
        ssize_t some = receive_some(peer, piece, size < sizeof(piece) ? size : sizeof(piece));
        cr_assert(some > 0, "%s: after %lu bytes, %zu to go: %s", peer->name, peer->received, size,
                  some == 0 ? "the end" : strerror((int)-some));
        pattern_check(peer, piece, (size_t)some);
        size -= (size_t)some;
    }
}

size_t peer_expect_pattern_until_reset(struct peer *peer) {
    char piece[PIECE_SIZE];
    uint64_t start = peer->received;
    for (;;) {
        ssize_t some = receive_some(peer, piece, sizeof(piece));
        if (some == -ECONNRESET) {
            return peer->received - start;
        }
        cr_assert(some > 0, "%s: wants a reset, after %lu bytes: %s", peer->name, peer->received,
                  some == 0 ? "a FIN" : strerror((int)-some));
        pattern_check(peer, piece, (size_t)some);
    }
}

size_t peer_unsent(const struct peer *peer) {
    int size = 0;
    cr_assert(ioctl(peer->fd, SIOCOUTQ, &size) == 0);
    return (size_t)size;
}

/* --- ends -------------------------------------------------------------------------------------------------------- */

/* Reads to the end of the stream: 0 or -errno. */
static ssize_t skip_to_end(struct peer *peer) {
    char piece[PIECE_SIZE];
    ssize_t some = 0;
    do {
        some = receive_some(peer, piece, sizeof(piece));
    } while (some > 0);
    return some;
}

void peer_expect_end(struct peer *peer) {
    char byte;
    ssize_t some = receive_some(peer, &byte, 1);
    cr_assert(some == 0, "%s: wants a FIN, after %lu bytes: %s", peer->name, peer->received,
              some > 0 ? "more bytes" : strerror((int)-some));
}

void peer_expect_reset(struct peer *peer) {
    ssize_t end = skip_to_end(peer);
    struct address local = {.length = sizeof(local.local)};
    getsockname(peer->fd, &local.any, &local.length);
    cr_assert(end == -ECONNRESET || (end == 0 && address_is_unix(&local)), "%s: wants a reset: %s", peer->name,
              end == 0 ? "a FIN" : strerror((int)-end));
}

void peer_expect_closed(struct peer *peer) {
    ssize_t end = skip_to_end(peer);
    cr_assert(end == 0 || end == -ECONNRESET, "%s: wants to be closed: %s", peer->name, strerror((int)-end));
}

void peer_expect_silence(struct peer *peer, int milliseconds) {
    cr_assert(!wait_for(peer->fd, POLLIN, milliseconds), "%s: wants silence for %d ms, something came", peer->name,
              milliseconds);
}

void peer_end(struct peer *peer) {
    cr_assert(shutdown(peer->fd, SHUT_WR) == 0, "%s: shutdown: %m", peer->name);
}

void peer_reset(struct peer *peer) {
    struct linger now = {.l_onoff = 1, .l_linger = 0};
    setsockopt(peer->fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
    peer_close(peer);
}

void peer_close(struct peer *peer) {
    close(peer->fd);
    peer->fd = -1;
}

/* --- sessions ---------------------------------------------------------------------------------------------------- */

void pair_accept(struct pair *pair, const struct peer_listener *listener) {
    peer_accept(&pair->server, listener);
    /* Descriptors tell open sessions of one test apart, so bytes that stray into another session are noticed. */
    pair->client.send_stream = pair->server.receive_stream = (uint64_t)pair->client.fd;
    pair->server.send_stream = pair->client.receive_stream = (uint64_t)pair->server.fd;
}

void pair_open(struct pair *pair, const char *address, const struct peer_listener *listener) {
    peer_connect(&pair->client, address);
    pair_accept(pair, listener);
}

void pair_exchange(struct pair *pair, size_t size) {
    peer_relay(&pair->client, &pair->server, size);
    peer_relay(&pair->server, &pair->client, size);
}

void pair_close(struct pair *pair) {
    peer_close(&pair->client);
    peer_close(&pair->server);
}

static short transfer_events(const struct transfer *transfer) {
    return (short)((transfer->send > 0 ? POLLOUT : 0) | (transfer->expect > 0 ? POLLIN : 0));
}

static void transfer_receive(struct transfer *transfer) {
    char piece[PIECE_SIZE];
    size_t size = transfer->read_size == 0 ? sizeof(piece) : transfer->read_size;
    size = transfer->expect < size ? transfer->expect : size;
    struct peer *peer = transfer->peer;
    ssize_t some = receive_some(peer, piece, size);
    cr_assert(some > 0, "%s: after %lu bytes, %lu to go: %s", peer->name, peer->received, transfer->expect,
              some == 0 ? "the end" : strerror((int)-some));
    pattern_check(peer, piece, (size_t)some);
    transfer->expect -= (size_t)some;
}

static void transfer_step(struct transfer *transfer, short events) {
    if (transfer->send > 0 && (events & (POLLOUT | POLLERR | POLLHUP)) != 0) {
        size_t size = transfer->send_size == 0 ? PIECE_SIZE : transfer->send_size;
        transfer->send -= send_pattern_some(transfer->peer, transfer->send < size ? transfer->send : size);
    }
    if (transfer->expect > 0 && (events & (POLLIN | POLLERR | POLLHUP)) != 0) {
        transfer_receive(transfer);
    }
}

/* Steps all that can move within the time. Returns how many transfers are not complete; *moved tells if any moved. */
static size_t transfers_turn(struct transfer *transfers, size_t count, int milliseconds, bool *moved) {
    struct pollfd polls[TRANSFERS_MAX];
    cr_assert(count <= TRANSFERS_MAX);
    size_t running = 0;
    for (size_t index = 0; index < count; index++) {
        short events = transfer_events(&transfers[index]);
        running += events != 0;
        polls[index] = (struct pollfd){.fd = events == 0 ? -1 : transfers[index].peer->fd, .events = events};
    }
    *moved = running > 0 && poll(polls, count, milliseconds) > 0;
    for (size_t index = 0; index < count && *moved; index++) {
        transfer_step(&transfers[index], polls[index].revents);
    }
    return running;
}

void transfers_run(struct transfer *transfers, size_t count) {
    bool moved;
    for (size_t running = 1; running > 0;) {
        running = transfers_turn(transfers, count, DEADLINE_MS, &moved);
        const struct peer *peer = transfers[0].peer;
        cr_assert(moved || running == 0,
                  "nothing moves and %zu of %zu transfers are not complete; the first peer (%s) has sent %lu and "
                  "received %lu bytes",
                  running, count, peer->name, peer->sent, peer->received);
    }
}

void transfers_run_until_stuck(struct transfer *transfers, size_t count) {
    bool moved = true;
    while (moved) {
        transfers_turn(transfers, count, STUCK_MS, &moved);
    }
}

void peer_relay(struct peer *from, struct peer *to, size_t size) {
    struct transfer transfers[] = {{.peer = from, .send = size}, {.peer = to, .expect = size}};
    transfers_run(transfers, 2);
}
