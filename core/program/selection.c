#include "program/selection.h"

#include "base/units.h"
#include "config/nearest.h"
#include "engine/engine.h"
#include "engine/server.h"
#include "engine/upstream.h"
#include "program/generation.h"

#include <stdio.h>
#include <string.h>

/* --- from options ------------------------------------------------------------------------------------------------ */

static bool option_wrong(enum option option, struct error *error) {
    return error_prefix(error, "--%s: ", option_row(option)->name);
}

static bool name_take(char name[static SELECTION_NAME_MAX], const char *text, size_t size, enum option option,
                      struct error *error) {
    if (size == 0 || size >= SELECTION_NAME_MAX) {
        error_set(error, "a name has 1 to %d bytes", SELECTION_NAME_MAX - 1);
        return option_wrong(option, error);
    }
    memcpy(name, text, size);
    name[size] = 0;
    return true;
}

/* `SERVER` or `UPSTREAM/SERVER`; but a server may be the path of a unix socket. */
static bool server_take(struct selection *selection, const char *text, struct error *error) {
    const char *slash = strncmp(text, "unix:", 5) == 0 ? NULL : strchr(text, '/');
    if (slash != NULL && !name_take(selection->upstream, text, (size_t)(slash - text), OPTION_SERVER, error)) {
        return false;
    }
    const char *server = slash == NULL ? text : slash + 1;
    return name_take(selection->server, server, strlen(server), OPTION_SERVER, error);
}

static bool client_take(struct selection *selection, const char *text, struct error *error) {
    selection->has_client = true;
    return cidr_parse(&selection->client, text, error) || option_wrong(OPTION_CLIENT, error);
}

/* "routing, connecting, ...": all that `ctl sessions` may show. */
static void states_list(char *text, size_t size) {
    size_t used = 0;
    for (enum session_state state = 0; state <= SESSION_CLOSING && used < size; state++) {
        used += (size_t)snprintf(text + used, size - used, "%s%s", state == 0 ? "" : ", ", session_state_name(state));
    }
}

static bool state_take(struct selection *selection, const char *text, struct error *error) {
    struct nearest nearest;
    char states[128];
    nearest_init(&nearest, text);
    selection->has_state = true;
    for (enum session_state state = 0; state <= SESSION_CLOSING; state++) {
        if (strcmp(session_state_name(state), text) == 0) {
            selection->state = state;
            return true;
        }
        nearest_offer(&nearest, session_state_name(state));
    }
    if (nearest.best != NULL) {
        return error_set(error, "--state: there is no \"%.80s\"; did you mean \"%s\"?", text, nearest.best);
    }
    states_list(states, sizeof states);
    return error_set(error, "--state: there is no \"%.80s\"; there are: %s", text, states);
}

static bool older_take(struct selection *selection, const char *text, struct error *error) {
    return units_parse_duration(text, &selection->older_us, error) || option_wrong(OPTION_OLDER, error);
}

/* `41`, `<41`, `<=41`, `>41`, `>=41`. */
static bool generation_take(struct selection *selection, const char *text, struct error *error) {
    const char relation = text[0];
    bool is_range = relation == '<' || relation == '>';
    bool or_equal = is_range && text[1] == '=';
    uint64_t number;
    if (!units_parse_integer(text + is_range + or_equal, 1, UINT32_MAX, &number, error)) {
        return option_wrong(OPTION_GENERATION, error);
    }
    if (relation != '>') {
        selection->generation_max = relation == '<' && !or_equal ? number - 1 : number;
    }
    if (relation != '<') {
        selection->generation_min = relation == '>' && !or_equal ? number + 1 : number;
    }
    return true;
}

static bool id_take(struct selection *selection, const char *text, struct error *error) {
    return units_parse_integer(text, 1, UINT64_MAX - 1, &selection->id, error) || option_wrong(OPTION_ID, error);
}

bool selection_parse(struct selection *selection, const struct arguments *order, struct error *error) {
    const char *const *given = order->given;
    *selection = (struct selection){.generation_max = UINT64_MAX};
    return (given[OPTION_LISTENER] == NULL || name_take(selection->listener, given[OPTION_LISTENER],
                                                        strlen(given[OPTION_LISTENER]), OPTION_LISTENER, error)) &&
           (given[OPTION_SERVER] == NULL || server_take(selection, given[OPTION_SERVER], error)) &&
           (given[OPTION_CLIENT] == NULL || client_take(selection, given[OPTION_CLIENT], error)) &&
           (given[OPTION_STATE] == NULL || state_take(selection, given[OPTION_STATE], error)) &&
           (given[OPTION_OLDER] == NULL || older_take(selection, given[OPTION_OLDER], error)) &&
           (given[OPTION_GENERATION] == NULL || generation_take(selection, given[OPTION_GENERATION], error)) &&
           (given[OPTION_ID] == NULL || id_take(selection, given[OPTION_ID], error));
}

bool selection_is_everything(const struct selection *selection) {
    bool has_name = selection->listener[0] != 0 || selection->upstream[0] != 0 || selection->server[0] != 0;
    bool has_range = selection->generation_min > 0 || selection->generation_max < UINT64_MAX;
    return !has_name && !has_range && !selection->has_client && !selection->has_state && selection->id == 0 &&
           selection->older_us == 0;
}

/* --- looking at a session ---------------------------------------------------------------------------------------- */

static bool address_to_ip(const struct address *address, struct cidr_ip *ip) {
    if (address_family(address) == AF_INET) {
        *ip = (struct cidr_ip){.low = ntohl(address->v4.sin_addr.s_addr)};
        return true;
    }
    if (address_family(address) != AF_INET6) {
        return false;
    }
    const uint8_t *bytes = address->v6.sin6_addr.s6_addr;
    *ip = (struct cidr_ip){.v6 = true};
    for (size_t i = 0; i < 8; i++) {
        ip->high = ip->high << 8 | bytes[i];
        ip->low = ip->low << 8 | bytes[8 + i];
    }
    if (IN6_IS_ADDR_V4MAPPED(&address->v6.sin6_addr)) {
        *ip = (struct cidr_ip){.low = ip->low & UINT32_MAX};
    }
    return true;
}

static bool has_client(const struct selection *selection, const struct session *session) {
    struct address address;
    struct cidr_ip ip;
    session_client(session, &address);
    return address_to_ip(&address, &ip) && cidr_contains(&selection->client, 1, &ip);
}

static bool has_server(const struct selection *selection, const struct session *session) {
    const struct server *server = session->server;
    const struct upstream *upstream = session_upstream(session);
    if (selection->upstream[0] != 0 && (upstream == NULL || strcmp(upstream->name, selection->upstream) != 0)) {
        return false;
    }
    return server != NULL &&
           (strcmp(server->name, selection->server) == 0 || strcmp(server->address_text, selection->server) == 0);
}

/* What costs least comes first. */
bool selection_has(const struct selection *selection, const struct session *session) {
    const struct settings *settings = session->settings;
    uint64_t generation = settings->epoch->generation->number;
    if (selection->id != 0 && session->id != selection->id) {
        return false;
    }
    if (generation < selection->generation_min || generation > selection->generation_max) {
        return false;
    }
    if (selection->has_state && session->state != selection->state) {
        return false;
    }
    if (selection->older_us > 0 && session->engine->now_us - session->started_us <= selection->older_us) {
        return false;
    }
    if (selection->listener[0] != 0 && strcmp(settings->listener, selection->listener) != 0) {
        return false;
    }
    return (selection->server[0] == 0 || has_server(selection, session)) &&
           (!selection->has_client || has_client(selection, session));
}
