#include "program/sockets.h"

#include "base/check.h"
#include "base/log.h"
#include "config/place.h"
#include "engine/ring.h"
#include "engine/settings.h"

#include <errno.h>
#include <limits.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { IN_USE_LOOKS = 20, IN_USE_LOOKS_LATER = 4 }; /* of 50 ms */

/* --- explaining ------------------------------------------------------------------------------------------------- */

static const char *bind_advice(int number) {
    switch (number) {
    case EADDRINUSE:
        return "another program (or another moonring) listens there: `ss -lnp` shows which";
    case EADDRNOTAVAIL:
        return "this machine has no such address: `ip address` shows those it has";
    case EACCES:
    case EPERM:
        return "ports below 1024 need root, CAP_NET_BIND_SERVICE (systemd: AmbientCapabilities=CAP_NET_BIND_SERVICE) "
               "or a lower `sysctl net.ipv4.ip_unprivileged_port_start`; a unix socket needs the right to write into "
               "its directory";
    case ENOENT:
        return "the directory of the unix socket does not exist";
    case EMFILE:
    case ENFILE:
        return "no descriptor is left: raise `ulimit -n` (systemd: LimitNOFILE=)";
    case ENOTSOCK:
        return "a file that is no socket is there: move it away or choose another path";
    default:
        return "see bind(2)";
    }
}

static bool address_is_wildcard(const struct address *address) {
    return address_family(address) == AF_INET ? address->v4.sin_addr.s_addr == htonl(INADDR_ANY)
                                              : IN6_IS_ADDR_UNSPECIFIED(&address->v6.sin6_addr);
}

static bool address_is_internet(const struct address *address) {
    return address_family(address) == AF_INET || address_family(address) == AF_INET6;
}

bool addresses_overlap(const struct address *a, const struct address *b) {
    return address_is_internet(a) && address_is_internet(b) && address_port(a) == address_port(b) &&
           (address_is_wildcard(a) || address_is_wildcard(b) || address_equal(a, b));
}

/* A socket of ours is in the way of a probe, though not of the bind: `:80` gives way to `10.0.0.1:80`, say, or it was
 * left just now. */
bool sockets_overlap(const struct sockets *sockets, const struct address *address) {
    for (size_t i = 0; i < sockets->count; i++) {
        if (addresses_overlap(&sockets->items[i].address, address)) {
            return true;
        }
    }
    return false;
}

static const char *bind_advice_for(const struct sockets *sockets, const struct address *address, int number) {
    bool is_metrics =
        addresses_overlap(&sockets->metrics[0], address) || addresses_overlap(&sockets->metrics[1], address);
    return number == EADDRINUSE && is_metrics
               ? "this moonring's own page of metrics is there (metrics.bind): choose another address, or reload first "
                 "with `metrics` moved away or left out, then with the listener"
               : bind_advice(number);
}

static bool explain(const struct sockets *sockets, struct error *error, const struct config *config,
                    const struct listening_socket *socket, const struct config_bind *bind, int number) {
    const char *name = config->listeners[socket->listener].name;
    char place[CONFIG_PLACE_MAX];
    config_place_format(&bind->place, place, sizeof place);
    return error_set(error, "%s: listener %s: cannot bind %s: %s: %s", place, name, bind->text, strerror(number),
                     bind_advice_for(sockets, &bind->address, number));
}

/* In front of what is wrong with the file of a unix socket. */
static bool prefix_place(const struct config *config, size_t listener, const struct config_bind *bind,
                         struct error *error) {
    char place[CONFIG_PLACE_MAX];
    config_place_format(&bind->place, place, sizeof place);
    return error_prefix(error, "%s: listener %s: ", place, config->listeners[listener].name);
}

static bool explain_passed(const struct sockets *sockets, const struct config *config, size_t listener,
                           const struct config_bind *bind, struct error *error) {
    char place[CONFIG_PLACE_MAX];
    struct error why;
    config_place_format(&bind->place, place, sizeof place);
    inherited_explain(&sockets->inherited, bind->socket, &why);
    return error_set(error, "%s: listener %s: %s", place, config->listeners[listener].name, why.text);
}

static void socket_close(struct listening_socket *socket) {
    if (socket->fd >= 0) {
        socket_file_remove(&socket->file, &socket->address);
        kernel_close(socket->fd);
        socket->fd = -1;
    }
}

/* --- binding ---------------------------------------------------------------------------------------------------- */

/* The kernel takes apart the ring of a killed process after its end: until then its addresses are in use. So may be an
 * address of our own that was left just now. */
static int bind_patiently(int fd, const struct address *address, const struct kernel_listen_options *options,
                          int looks) {
    const struct timespec pause = {.tv_nsec = 50 * 1000 * 1000};
    int result = socket_file_bind(fd, address, options);
    for (int look = 0; result == -EADDRINUSE && look < looks; look++) {
        nanosleep(&pause, NULL);
        result = socket_file_bind(fd, address, options);
    }
    return result;
}

static int open_and_bind(const struct address *address, const struct kernel_listen_options *options, int looks) {
    int fd = kernel_socket(address_family(address));
    if (fd < 0) {
        return fd;
    }
    int result = bind_patiently(fd, address, options, looks);
    if (result < 0) {
        kernel_close(fd);
        return result;
    }
    return fd;
}

/* Where IPv6 is switched off, `:8080` means IPv4 alone. */
static int open_dual(struct address *address, const struct kernel_listen_options *options, int looks) {
    int fd = open_and_bind(address, options, looks);
    if (options->dual_stack && (fd == -EAFNOSUPPORT || fd == -EADDRNOTAVAIL)) {
        address_any_v4(address, address_port(address));
        fd = open_and_bind(address, options, looks);
    }
    return fd;
}

static struct kernel_listen_options listen_options(const struct config_listener *listener,
                                                   const struct config_bind *bind) {
    return (struct kernel_listen_options){.reuse_port = !address_is_unix(&bind->address),
                                          .dual_stack = bind->dual_stack,
                                          .backlog = listener->tcp.backlog,
                                          .tcp = settings_tcp(&listener->tcp)};
}

/* At the start there is time. */
static int sockets_looks(const struct sockets *sockets) {
    return sockets->workers == 0 ? IN_USE_LOOKS : IN_USE_LOOKS_LATER;
}

/* Without SO_REUSEPORT, to see whether the address is free: with it, a second moonring of the same user would get half
 * of the first one's clients and nobody would notice. */
static int probe(const struct sockets *sockets, const struct config_bind *bind, struct kernel_listen_options options) {
    struct address address = bind->address;
    if (address_is_unix(&address) || address_port(&address) == 0 || sockets_overlap(sockets, &address)) {
        return 0;
    }
    options.reuse_port = false;
    int fd = open_dual(&address, &options, sockets_looks(sockets));
    if (fd >= 0) {
        kernel_close(fd);
    }
    return fd < 0 ? fd : 0;
}

static bool socket_open(const struct sockets *sockets, struct listening_socket *socket, const struct config *config,
                        const struct config_bind *bind, struct error *error) {
    const struct kernel_listen_options options = listen_options(&config->listeners[socket->listener], bind);
    socket->backlog = options.backlog;
    socket->fd = open_dual(&socket->address, &options, sockets_looks(sockets));
    if (socket->fd < 0) {
        return explain(sockets, error, config, socket, bind, -socket->fd);
    }
    kernel_local_address(socket->fd, &socket->address);
    return !address_has_path(&socket->address) ||
           socket_file_set_rights(&socket->file, &socket->address, bind->mode, bind->group, error) ||
           prefix_place(config, socket->listener, bind, error);
}

/* Takes the socket over, also on failure. */
static bool sockets_append(struct sockets *sockets, struct listening_socket *socket, struct error *error) {
    pthread_mutex_lock(&sockets->lock);
    struct listening_socket *items = reallocarray(sockets->items, sockets->count + 1, sizeof *items);
    if (items != NULL) {
        sockets->items = items;
        items[sockets->count++] = *socket;
    }
    pthread_mutex_unlock(&sockets->lock);
    if (items == NULL) {
        socket_close(socket);
    }
    return items != NULL || error_set(error, "no memory for the listening sockets");
}

/* By another path, to which nobody listens yet: it would be taken for a file that was left behind. */
static bool file_is_ours(const struct sockets *sockets, const struct address *address) {
    for (size_t i = 0; i < sockets->count && address_has_path(address); i++) {
        const struct listening_socket *socket = &sockets->items[i];
        if (!socket->leaving && socket_file_is_at(&socket->file, address)) {
            return true;
        }
    }
    return false;
}

static bool bind_slot(struct sockets *sockets, const struct config *config, const struct config_bind *bind,
                      struct listening_socket *socket, struct error *error) {
    if (file_is_ours(sockets, &socket->address)) {
        return explain(sockets, error, config, socket, bind, EADDRINUSE);
    }
    if (!socket_open(sockets, socket, config, bind, error)) {
        socket_close(socket);
        return false;
    }
    return sockets_append(sockets, socket, error);
}

/* Sockets of the address for the slots from `slot` on. The first one's port is that of the others. */
static bool bind_slots(struct sockets *sockets, const struct config *config, const struct config_bind *bind,
                       struct listening_socket socket, uint32_t slot, struct error *error) {
    for (; slot < sockets->workers_next; slot++) {
        socket.slot = slot;
        if (!bind_slot(sockets, config, bind, &socket, error)) {
            return false;
        }
    }
    return true;
}

/* Those that systemd passes under that name; every worker accepts on each. */
static bool take_passed(struct sockets *sockets, const struct config *config, size_t listener,
                        const struct config_bind *bind, struct error *error) {
    const struct kernel_listen_options options = listen_options(&config->listeners[listener], bind);
    size_t at = 0;
    size_t found = 0;
    for (int fd; (fd = inherited_next(&sockets->inherited, bind->socket, &at)) >= 0; found++) {
        struct listening_socket socket = {.fd = fd,
                                          .listener = listener,
                                          .slot = SOCKET_OF_ALL,
                                          .is_new = true,
                                          .is_passed = true,
                                          .backlog = options.backlog,
                                          .named = bind->address};
        kernel_local_address(fd, &socket.address);
        kernel_set_nonblocking(fd, false); /* accepting waits in the ring */
        kernel_set_tcp(fd, address_family(&socket.address), &options.tcp);
        if (!sockets_append(sockets, &socket, error)) {
            return false;
        }
    }
    return found > 0 || explain_passed(sockets, config, listener, bind, error);
}

static bool bind_address(struct sockets *sockets, const struct config *config, size_t listener,
                         const struct config_bind *bind, struct error *error) {
    if (bind->socket != NULL) {
        return take_passed(sockets, config, listener, bind, error);
    }
    struct listening_socket socket = {.fd = -1,
                                      .listener = listener,
                                      .slot = SOCKET_OF_ALL,
                                      .is_new = true,
                                      .dual_stack = bind->dual_stack,
                                      .named = bind->address,
                                      .address = bind->address};
    int probed = probe(sockets, bind, listen_options(&config->listeners[listener], bind));
    if (probed < 0) {
        return explain(sockets, error, config, &socket, bind, -probed);
    }
    return address_is_unix(&bind->address) ? bind_slot(sockets, config, bind, &socket, error)
                                           : bind_slots(sockets, config, bind, socket, 0, error);
}

/* --- keeping ---------------------------------------------------------------------------------------------------- */

/* One that was there for that address, as it is named or as it was bound, and that nobody has taken yet. */
static const struct listening_socket *find_unnamed(const struct sockets *sockets, const struct config_bind *bind) {
    const struct listening_socket *found = NULL;
    for (size_t i = 0; i < sockets->count; i++) {
        const struct listening_socket *socket = &sockets->items[i];
        if (socket->leaving || socket->listener != SOCKET_UNNAMED || socket->dual_stack != bind->dual_stack) {
            continue;
        }
        if (address_equal(&socket->named, &bind->address)) {
            return socket;
        }
        if (address_equal(&socket->address, &bind->address)) {
            found = socket;
        }
    }
    return found;
}

/* The sockets of that address go to the listener, and get company when there are more workers than before. (Port 0 may
 * be named more than once: what they have in common is the port that they got.) *kept: there are some. */
static bool keep_address(struct sockets *sockets, const struct config *config, size_t listener,
                         const struct config_bind *bind, bool *kept, struct error *error) {
    const struct listening_socket *found = find_unnamed(sockets, bind);
    *kept = found != NULL;
    if (found == NULL) {
        return true;
    }
    if (address_has_path(&found->address) && !socket_file_can_have(&found->address, bind->group, error)) {
        return prefix_place(config, listener, bind, error);
    }
    struct listening_socket next = *found;
    uint32_t slots = 0;
    for (size_t i = 0; i < sockets->count; i++) {
        struct listening_socket *socket = &sockets->items[i];
        bool is_same = address_equal(&socket->address, &next.address) ||
                       (next.is_passed && address_equal(&socket->named, &next.named));
        if (!socket->leaving && is_same) {
            socket->listener = listener;
            slots++;
        }
    }
    next.fd = -1;
    next.users = 0;
    next.listener = listener;
    next.is_new = true;
    return next.slot == SOCKET_OF_ALL || bind_slots(sockets, config, bind, next, slots, error);
}

static void sockets_remove_closed(struct sockets *sockets) {
    pthread_mutex_lock(&sockets->lock);
    for (size_t i = sockets->count; i > 0; i--) {
        if (sockets->items[i - 1].fd < 0) {
            sockets->items[i - 1] = sockets->items[--sockets->count];
        }
    }
    pthread_mutex_unlock(&sockets->lock);
}

static bool take_address(struct sockets *sockets, const struct config *config, size_t listener,
                         const struct config_bind *bind, struct error *error) {
    bool kept;
    return keep_address(sockets, config, listener, bind, &kept, error) &&
           (kept || bind_address(sockets, config, listener, bind, error));
}

bool sockets_prepare(struct sockets *sockets, const struct config *config, uint32_t workers, struct error *error) {
    sockets_remove_closed(sockets);
    sockets->workers_next = workers;
    for (size_t i = 0; i < sockets->count; i++) {
        sockets->items[i].listener = SOCKET_UNNAMED;
    }
    for (size_t i = 0; i < config->listeners_count; i++) {
        const struct config_listener *listener = &config->listeners[i];
        for (size_t j = 0; j < listener->binds_count; j++) {
            if (!take_address(sockets, config, i, &listener->binds[j], error)) {
                return false;
            }
        }
    }
    return true;
}

bool sockets_listen(struct sockets *sockets, const struct config *config, struct error *error) {
    for (size_t i = 0; i < sockets->count; i++) {
        const struct listening_socket *socket = &sockets->items[i];
        const struct kernel_listen_options options = {.backlog = socket->backlog};
        int result = socket->is_new ? kernel_listen(socket->fd, &options) : 0;
        if (result < 0) {
            char text[ADDRESS_TEXT_MAX];
            address_format(&socket->address, text, sizeof text);
            return error_set(error, "listener %s: cannot listen on %s: %s", config->listeners[socket->listener].name,
                             text, strerror(-result));
        }
    }
    return true;
}

/* --- committing ------------------------------------------------------------------------------------------------- */

enum socket_duty sockets_duty(const struct sockets *sockets, const struct listening_socket *socket, uint32_t worker) {
    if (socket->leaving || socket->listener == SOCKET_UNNAMED) {
        return DUTY_NONE; /* it is left by whoever has it */
    }
    bool of_all = socket->slot == SOCKET_OF_ALL;
    bool will = of_all ? worker < sockets->workers_next : socket->slot % sockets->workers_next == worker;
    bool does = !socket->is_new && (of_all ? worker < sockets->workers : socket->slot % sockets->workers == worker);
    if (will) {
        return does ? DUTY_GO_ON : DUTY_BEGIN;
    }
    return does ? DUTY_HAND_OVER : DUTY_NONE;
}

static uint32_t count_beginners(const struct sockets *sockets, const struct listening_socket *socket) {
    uint32_t count = 0;
    for (uint32_t worker = 0; worker < sockets->workers_next; worker++) {
        count += sockets_duty(sockets, socket, worker) == DUTY_BEGIN;
    }
    return count;
}

static const struct config_bind *find_bind(const struct config_listener *listener,
                                           const struct listening_socket *socket) {
    const struct config_bind *found = NULL;
    for (size_t i = 0; i < listener->binds_count; i++) {
        const struct config_bind *bind = &listener->binds[i];
        if (address_equal(&bind->address, &socket->named)) {
            return bind;
        }
        found = address_equal(&bind->address, &socket->address) ? bind : found;
    }
    return found;
}

/* kernel_set_tcp leaves alone what is off: nothing else is to be done for a fresh socket. */
static void switch_off(int fd, const struct kernel_tcp_options *options) {
    int off = 0;
    if (!options->nodelay) {
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &off, sizeof off);
    }
    if (!options->keepalive) {
        setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &off, sizeof off);
    }
}

/* A kept socket gets what the new configuration says: rights, queue, and what accepted sockets inherit. */
static void socket_renew(struct listening_socket *socket, const struct config *config) {
    const struct config_listener *listener = &config->listeners[socket->listener];
    const struct config_bind *bind = find_bind(listener, socket);
    check(bind != NULL);
    const struct kernel_listen_options options = listen_options(listener, bind);
    struct error error;
    socket->named = bind->address;
    if (!address_is_unix(&socket->address)) {
        kernel_set_tcp(socket->fd, address_family(&socket->address), &options.tcp);
        switch_off(socket->fd, &options.tcp);
    }
    if (options.backlog != socket->backlog && kernel_listen(socket->fd, &options) == 0) {
        socket->backlog = options.backlog;
    }
    if (address_has_path(&socket->address) && !socket->is_passed &&
        !socket_file_set_rights(&socket->file, &socket->address, bind->mode, bind->group, &error)) {
        log_warn("listener %s: %s", listener->name, error.text);
    }
}

/* Once for an address. */
static void socket_tell(const struct listening_socket *socket, const struct config *config) {
    char text[ADDRESS_TEXT_MAX];
    if (socket->slot != 0 && socket->slot != SOCKET_OF_ALL) {
        return;
    }
    address_format(&socket->address, text, sizeof text);
    if (socket->leaving) {
        log_info("no listener has %s any more: it is left", text);
        return;
    }
    if (socket->dual_stack && address_family(&socket->address) == AF_INET) {
        log_info("IPv6 is off on this machine: port %u is bound for IPv4 only", address_port(&socket->address));
    }
    log_info("listener %s: listening on %s", config->listeners[socket->listener].name, text);
}

/* From now on the kernel finds the socket for no new handshake: it is bound to an interface that does not exist. Who
 * begins one is served by another socket that takes the address, or refused; who has begun one ends it here, since the
 * kernel looks for a listening socket only once, and is accepted. Should it fail, somebody may be reset in the very
 * instant in which the socket is closed. One that systemd has passed stays open there: who comes waits in its queue. */
static void socket_refuse_new(const struct listening_socket *socket) {
    int nowhere = INT_MAX;
    if (!address_is_unix(&socket->address) && !socket->is_passed) {
        setsockopt(socket->fd, SOL_SOCKET, SO_BINDTOIFINDEX, &nowhere, sizeof nowhere);
    }
}

static void socket_commit(struct listening_socket *socket, const struct config *config) {
    if (socket->listener == SOCKET_UNNAMED) {
        socket->leaving = true;
        socket_refuse_new(socket);
        socket_tell(socket, config);
    } else if (socket->is_new) {
        socket->is_new = false;
        socket_tell(socket, config);
    } else {
        socket_renew(socket, config);
    }
}

void sockets_commit(struct sockets *sockets, const struct config *config) {
    pthread_mutex_lock(&sockets->lock);
    for (size_t i = 0; i < sockets->count; i++) {
        sockets->items[i].users += count_beginners(sockets, &sockets->items[i]);
    }
    pthread_mutex_unlock(&sockets->lock);
    for (size_t i = 0; i < sockets->count; i++) {
        if (!sockets->items[i].leaving) {
            socket_commit(&sockets->items[i], config);
        }
    }
    sockets->workers = sockets->workers_next;
}

/* --- closing ---------------------------------------------------------------------------------------------------- */

void sockets_abandon(struct sockets *sockets) {
    for (size_t i = 0; i < sockets->count; i++) {
        if (sockets->items[i].is_new) {
            socket_close(&sockets->items[i]); /* no worker knows it */
        }
    }
    sockets_remove_closed(sockets);
}

bool sockets_leave(struct sockets *sockets, int fd) {
    bool found = false;
    bool is_used = false;
    pthread_mutex_lock(&sockets->lock);
    for (size_t i = 0; i < sockets->count && !found; i++) {
        struct listening_socket *socket = &sockets->items[i];
        if (socket->fd == fd) {
            found = true;
            is_used = --socket->users > 0;
            if (!is_used) {
                socket_close(socket); /* the entry stays for the control thread to remove */
            }
        }
    }
    pthread_mutex_unlock(&sockets->lock);
    check(found);
    return is_used;
}

void sockets_init(struct sockets *sockets) {
    *sockets = (struct sockets){.items = NULL};
    inherited_init(&sockets->inherited);
    check(pthread_mutex_init(&sockets->lock, NULL) == 0);
}

void sockets_finish(struct sockets *sockets) {
    for (size_t i = 0; i < sockets->count; i++) {
        socket_close(&sockets->items[i]);
    }
    free(sockets->items);
    inherited_finish(&sockets->inherited);
    pthread_mutex_destroy(&sockets->lock);
    *sockets = (struct sockets){.items = NULL};
}
