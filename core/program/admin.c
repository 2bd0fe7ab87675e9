#include "program/admin.h"

#include "base/log.h"
#include "config/place.h"
#include "engine/ring.h"
#include "program/version.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    MODE_DEFAULT = 0600,
    BACKLOG = 16,
    PAUSE_MS = 100,     /* of accepting, when there is no descriptor */
    LATER_MS = 20,      /* one that could not be obeyed is tried again */
    PATIENCE_MS = 5000, /* with a client that does not send its line, or takes nothing */
};

/* --- the socket ------------------------------------------------------------------------------------------------- */

static void socket_init(struct admin_socket *socket) {
    *socket = (struct admin_socket){.fd = -1};
}

static void socket_close(struct admin_socket *socket) {
    if (socket->fd >= 0) {
        socket_file_remove(&socket->file, &socket->address);
        kernel_close(socket->fd);
    }
    socket_init(socket);
}

static bool socket_set_rights(struct admin_socket *socket, const struct config_bind *bind, struct error *error) {
    uint32_t mode = bind->mode == CONFIG_MODE_DEFAULT ? MODE_DEFAULT : bind->mode;
    return socket_file_set_rights(&socket->file, &socket->address, mode, bind->group, error);
}

static bool prefix_place(const struct config_bind *bind, struct error *error) {
    char place[CONFIG_PLACE_MAX];
    config_place_format(&bind->place, place, sizeof place);
    return error_prefix(error, "%s: admin: ", place);
}

static bool socket_bind(struct admin_socket *socket, const struct config_bind *bind, struct error *error) {
    const struct kernel_listen_options options = {.backlog = BACKLOG};
    socket->address = bind->address;
    socket->fd = kernel_socket(AF_UNIX);
    int result = socket->fd < 0 ? socket->fd : socket_file_bind(socket->fd, &bind->address, &options);
    if (result == 0 && socket_set_rights(socket, bind, error)) {
        result = kernel_listen(socket->fd, &options);
    } else if (result == 0) {
        return prefix_place(bind, error);
    }
    if (result < 0) {
        error_set(error, "cannot bind %s: %s", bind->text, error_name(-result));
    }
    return result == 0 || prefix_place(bind, error);
}

static const struct config_bind *config_bind_of(const struct config_admin *config) {
    return config->binds_count == 0 ? NULL : &config->binds[0];
}

static bool stays(const struct admin *admin, const struct config_bind *bind) {
    return bind != NULL && admin->socket.fd >= 0 && address_equal(&admin->socket.address, &bind->address);
}

bool admin_prepare(struct admin *admin, const struct config_admin *config, struct error *error) {
    const struct config_bind *bind = config_bind_of(config);
    admin->prepared = !stays(admin, bind);
    socket_init(&admin->next);
    if (bind == NULL) {
        return true;
    }
    return admin->prepared ? socket_bind(&admin->next, bind, error)
                           : socket_file_can_have(&bind->address, bind->group, error) || prefix_place(bind, error);
}

void admin_commit(struct admin *admin, const struct config_admin *config) {
    const struct config_bind *bind = config_bind_of(config);
    struct error error;
    if (admin->prepared) {
        socket_close(&admin->socket);
        admin->socket = admin->next;
        socket_init(&admin->next);
    } else if (bind != NULL && !socket_set_rights(&admin->socket, bind, &error)) {
        log_warn("admin: %s", error.text);
    }
    if (admin->prepared && bind != NULL) {
        log_info("admin: listening on %s", bind->text);
    }
    admin->prepared = false;
}

void admin_abandon(struct admin *admin) {
    socket_close(&admin->next);
    admin->prepared = false;
}

/* --- clients ---------------------------------------------------------------------------------------------------- */

static size_t client_number(const struct admin *admin, const struct admin_client *client) {
    return (size_t)(client - admin->clients);
}

static void client_close(struct admin *admin, struct admin_client *client) {
    if (client->goes_on) {
        admin->service.forget(admin->service.argument, client_number(admin, client));
    }
    close(client->fd);
    bytes_finish(&client->answer);
    *client = (struct admin_client){.fd = -1};
    bytes_init(&client->answer);
}

static struct admin_client *find_place(struct admin *admin) {
    for (size_t i = 0; i < ADMIN_CLIENTS_MAX; i++) {
        if (admin->clients[i].fd < 0) {
            return &admin->clients[i];
        }
    }
    return NULL;
}

/* A client for whom there is no descriptor stays in the queue, and the socket readable: trying at once would spin. */
static void admin_accept(struct admin *admin, uint64_t now_ms) {
    struct admin_client *client = find_place(admin);
    struct ucred peer = {.pid = 0};
    socklen_t size = sizeof peer;
    if (client == NULL) {
        return; /* it waits in the queue until another one goes, five seconds at the most */
    }
    int fd = accept4(admin->socket.fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd < 0) {
        bool is_gone = errno == EAGAIN || errno == EINTR || errno == ECONNABORTED;
        admin->accept_at_ms = is_gone ? 0 : now_ms + PAUSE_MS;
        return;
    }
    getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size);
    client->fd = fd;
    client->peer = (struct admin_peer){.user = peer.uid, .process = (uint32_t)peer.pid};
    client->until_ms = now_ms + PATIENCE_MS;
}

/* It has not been obeyed, and hears nothing of that. */
static void client_wait(struct admin_client *client) {
    bytes_clear(&client->answer);
    client->answers = false;
    client->waits = true;
}

static void client_take_status(struct admin_client *client, int status) {
    client->goes_on = status == ADMIN_GOES_ON;
    if (!client->goes_on) {
        bytes_printf(&client->answer, ADMIN_END "%d\n", status);
    }
}

/* The line is there: it becomes an answer. The service gets a copy, which it may cut up. */
static void client_obey(struct admin *admin, struct admin_client *client) {
    const struct admin_service *service = &admin->service;
    char line[ADMIN_LINE_MAX];
    memcpy(line, client->line, sizeof line);
    client->answers = true;
    client->waits = false;
    bytes_printf(&client->answer, ADMIN_BEGIN "%s\n", moonring_version());
    const struct admin_client *before = admin->obeyed;
    admin->obeyed = client;
    int status = service->obey(service->argument, client_number(admin, client), line, &client->peer, &client->answer);
    admin->obeyed = before;
    if (status == ADMIN_LATER) {
        client_wait(client);
    } else {
        client_take_status(client, status);
    }
}

static void client_go_on(struct admin *admin, struct admin_client *client) {
    const struct admin_service *service = &admin->service;
    bytes_clear(&client->answer);
    client->sent = 0;
    client_take_status(client, service->go_on(service->argument, client_number(admin, client), &client->answer));
}

static void client_read(struct admin *admin, struct admin_client *client) {
    char *to = client->line + client->line_size;
    ssize_t size = recv(client->fd, to, sizeof client->line - 1 - client->line_size, 0);
    if (size < 0 && (errno == EAGAIN || errno == EINTR)) {
        return;
    }
    if (size <= 0) {
        client_close(admin, client);
        return;
    }
    client->line_size += (size_t)size;
    client->line[client->line_size] = 0;
    char *end = memchr(client->line, '\n', client->line_size);
    if (end != NULL) {
        *end = 0;
        client_obey(admin, client);
    } else if (client->line_size == sizeof client->line - 1) {
        client_close(admin, client);
    }
}

static void client_write(struct admin *admin, struct admin_client *client) {
    ssize_t size =
        send(client->fd, client->answer.data + client->sent, client->answer.size - client->sent, MSG_NOSIGNAL);
    if (size < 0 && errno != EAGAIN && errno != EINTR) {
        client_close(admin, client);
        return;
    }
    client->sent += size > 0 ? (size_t)size : 0;
    if (client->sent == client->answer.size && client->goes_on) {
        client_go_on(admin, client);
    } else if (client->sent == client->answer.size) {
        client_close(admin, client);
    }
}

/* Its time is that of the whole line. One that came in time is obeyed, however late we are. */
static void client_listen(struct admin *admin, struct admin_client *client, bool ready, uint64_t now_ms) {
    bool is_late = client->until_ms <= now_ms;
    if (ready || is_late) {
        client_read(admin, client);
    }
    if (client->answers) {
        client->until_ms = now_ms + PATIENCE_MS;
    } else if (client->waits) {
        client->until_ms = now_ms + LATER_MS;
    } else if (client->fd >= 0 && is_late) {
        client_close(admin, client);
    }
}

static void client_turn(struct admin *admin, struct admin_client *client, bool ready, uint64_t now_ms) {
    if (client->waits) {
        client_obey(admin, client);
        client->until_ms = client->waits ? now_ms + LATER_MS : now_ms + PATIENCE_MS;
    } else if (!client->answers) {
        client_listen(admin, client, ready, now_ms);
    } else if (ready) {
        client->until_ms = now_ms + PATIENCE_MS;
        client_write(admin, client);
    } else if (client->until_ms <= now_ms) {
        client_close(admin, client);
    }
}

bool admin_is_answering(const struct admin *admin) {
    for (size_t i = 0; i < ADMIN_CLIENTS_MAX; i++) {
        const struct admin_client *client = &admin->clients[i];
        if (client->fd >= 0 && (client->answers || client->waits)) {
            return true;
        }
    }
    return false;
}

/* --- turning ---------------------------------------------------------------------------------------------------- */

/* The one that is being obeyed is not, while others have a turn meanwhile. */
static bool is_served(const struct admin *admin, const struct admin_client *client) {
    return client->fd >= 0 && client != admin->obeyed;
}

static size_t count_clients(const struct admin *admin) {
    size_t count = 0;
    for (size_t i = 0; i < ADMIN_CLIENTS_MAX; i++) {
        count += is_served(admin, &admin->clients[i]);
    }
    return count;
}

size_t admin_poll(const struct admin *admin, struct pollfd polls[static ADMIN_POLLS_MAX], uint64_t *until_ms) {
    size_t count = 0;
    for (size_t i = 0; i < ADMIN_CLIENTS_MAX; i++) {
        const struct admin_client *client = &admin->clients[i];
        if (is_served(admin, client)) {
            int events = client->waits ? 0 : client->answers ? POLLOUT : POLLIN;
            polls[count++] = (struct pollfd){.fd = client->fd, .events = (short)events};
            *until_ms = client->until_ms < *until_ms ? client->until_ms : *until_ms;
        }
    }
    if (admin->socket.fd >= 0 && admin->accept_at_ms != 0) {
        *until_ms = admin->accept_at_ms < *until_ms ? admin->accept_at_ms : *until_ms;
    } else if (admin->socket.fd >= 0 && count < ADMIN_CLIENTS_MAX) {
        polls[count++] = (struct pollfd){.fd = admin->socket.fd, .events = POLLIN};
    }
    return count;
}

void admin_turn(struct admin *admin, const struct pollfd *polls, size_t count, uint64_t now_ms) {
    size_t clients = count_clients(admin);
    size_t at = 0;
    uint64_t turn = ++admin->turns;
    for (size_t i = 0; i < ADMIN_CLIENTS_MAX && at < clients; i++) {
        if (is_served(admin, &admin->clients[i])) {
            client_turn(admin, &admin->clients[i], polls[at++].revents != 0, now_ms);
        }
        if (admin->turns != turn) {
            return; /* others had their turns while this one was obeyed: what was waited for is out of date */
        }
    }
    admin->accept_at_ms = admin->accept_at_ms <= now_ms ? 0 : admin->accept_at_ms;
    if (clients < count && polls[clients].revents != 0 && polls[clients].fd == admin->socket.fd) {
        admin_accept(admin, now_ms);
    }
}

void admin_init(struct admin *admin, const struct admin_service *service) {
    *admin = (struct admin){.service = *service};
    socket_init(&admin->socket);
    socket_init(&admin->next);
    for (size_t i = 0; i < ADMIN_CLIENTS_MAX; i++) {
        admin->clients[i].fd = -1;
        bytes_init(&admin->clients[i].answer);
    }
}

void admin_finish(struct admin *admin) {
    for (size_t i = 0; i < ADMIN_CLIENTS_MAX; i++) {
        if (admin->clients[i].fd >= 0) {
            client_close(admin, &admin->clients[i]);
        }
    }
    socket_close(&admin->socket);
    admin_abandon(admin);
}
