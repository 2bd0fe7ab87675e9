#include "program/server_orders.h"

#include "base/units.h"
#include "config/json.h"
#include "engine/ring.h"
#include "program/human.h"

#include <errno.h>
#include <string.h>

static uint64_t now_ms(void) {
    return kernel_now_ns() / 1000000;
}

static void append_name(struct bytes *out, const char *name) {
    bytes_append_escaped(out, name, strlen(name));
}

static const char *error_text(int error) {
    return error == ETIMEDOUT ? "no answer" : error_name(error);
}

/* --- why it is as it is ------------------------------------------------------------------------------------------- */

static void append_word(struct bytes *out, size_t begin, const char *word) {
    bytes_append_text(out, out->size > begin ? "; " : "");
    bytes_append_text(out, word);
}

static void append_why(struct bytes *out, const struct server *server, const struct server_numbers *numbers) {
    const struct health *health = &server->state->health;
    size_t begin = out->size;
    if ((numbers->out & HEALTH_DOWN) != 0) {
        append_word(out, begin, "checks fail: ");
        bytes_append_text(out, error_text(atomic_load(&health->check_error)));
    }
    if ((numbers->out & HEALTH_EJECTED) != 0) {
        append_word(out, begin, "sessions cannot connect: ");
        bytes_append_text(out, error_text(atomic_load(&server->state->failure)));
        bytes_append_text(out, "; back in ");
        uint64_t now = now_ms();
        human_append_age(out, health->ejected_until_ms > now ? health->ejected_until_ms - now : 0);
    }
    if (numbers->out == 0 && numbers->share < 100) {
        append_word(out, begin, "returns: has ");
        bytes_printf(out, "%u%% of its share", numbers->share);
    }
    if (server->backup) {
        append_word(out, begin, "a backup");
    }
}

/* --- all servers, or those of one upstream ------------------------------------------------------------------------ */

typedef void server_tell_fn(const struct upstream *upstream, const struct server *server, void *to);

static bool servers_each(const struct generation *generation, const char *only, server_tell_fn *tell, void *to) {
    bool found = only == NULL;
    for (size_t i = 0; i < generation->config->upstreams_count; i++) {
        const struct upstream *upstream = &generation->upstreams[i];
        if (only != NULL && strcmp(upstream->name, only) != 0) {
            continue;
        }
        found = true;
        for (size_t j = 0; j < upstream->servers_count; j++) {
            tell(upstream, &upstream->servers[j], to);
        }
    }
    return found;
}

static bool refuse_upstream(const char *name, struct bytes *out) {
    bytes_append_text(out, "there is no upstream \"");
    append_name(out, name);
    bytes_append_text(out, "\": `moonring ctl upstreams` shows all\n");
    return false;
}

static void describe_server(const struct upstream *upstream, const struct server *server, void *to) {
    const struct server_numbers numbers = server_numbers(server);
    struct bytes *out = to;
    append_name(out, upstream->name);
    bytes_append_char(out, '\t');
    append_name(out, server->name);
    bytes_append_char(out, '\t');
    append_name(out, server->address_text);
    bytes_printf(out, "\t%s\t", health_name(numbers.out));
    if (numbers.changed_ms == 0) {
        bytes_append_char(out, '-');
    } else {
        human_append_age(out, now_ms() - numbers.changed_ms);
    }
    bytes_printf(out, "\t%u\t%u\t%lu\t%lu\t%lu\t%lu\t%lu\t", numbers.weight, numbers.active,
                 (unsigned long)numbers.connected_total, (unsigned long)numbers.failed_total,
                 (unsigned long)numbers.checks_passed_total, (unsigned long)numbers.checks_failed_total,
                 (unsigned long)numbers.ejections_total);
    append_why(out, server, &numbers);
    bytes_append_char(out, '\n');
}

bool servers_describe(const struct program *program, const char *upstream, struct bytes *out) {
    struct bytes table;
    bytes_init(&table);
    bytes_append_text(&table, "UPSTREAM\tSERVER\tADDRESS\tSTATE\tFOR\tWEIGHT\tSESSIONS\tCONNECTED\tFAILED\tCHECKS_"
                              "PASSED\tCHECKS_FAILED\tEJECTIONS\tWHY\n");
    bool found = servers_each(program->generation, upstream, describe_server, &table);
    if (found) {
        bytes_append(out, table.data, table.size);
    }
    bytes_finish(&table);
    return found || refuse_upstream(upstream, out);
}

static void server_to_json(const struct upstream *upstream, const struct server *server, void *to) {
    const struct server_numbers numbers = server_numbers(server);
    struct json *json = to;
    struct bytes why;
    bytes_init(&why);
    append_why(&why, server, &numbers);
    json_begin(json, NULL, '{');
    json_text(json, "upstream", upstream->name);
    json_text(json, "server", server->name);
    json_text(json, "address", server->address_text);
    json_text(json, "state", health_name(numbers.out));
    json_bool(json, "in_service", numbers.out == 0);
    json_bool(json, "down", (numbers.out & HEALTH_DOWN) != 0);
    json_bool(json, "ejected", (numbers.out & HEALTH_EJECTED) != 0);
    json_bool(json, "drained", (numbers.out & HEALTH_DRAINED) != 0);
    json_bool(json, "disabled", (numbers.out & HEALTH_DISABLED) != 0);
    json_bool(json, "backup", server->backup);
    if (numbers.changed_ms != 0) {
        json_number(json, "state_age_ms", now_ms() - numbers.changed_ms);
    }
    json_text(json, "why", why.data);
    json_number(json, "weight", numbers.weight);
    json_number(json, "configured_weight", server->weight);
    json_number(json, "share_percent", numbers.share);
    json_number(json, "sessions", numbers.active);
    json_number(json, "max_connections", server->connections_max);
    json_number(json, "connected_total", numbers.connected_total);
    json_number(json, "failed_total", numbers.failed_total);
    json_number(json, "checks_passed_total", numbers.checks_passed_total);
    json_number(json, "checks_failed_total", numbers.checks_failed_total);
    json_number(json, "ejections_total", numbers.ejections_total);
    json_end(json, '}');
    bytes_finish(&why);
}

bool servers_to_json(const struct program *program, const char *upstream, struct bytes *out) {
    size_t begin = out->size;
    struct json json = {.out = out};
    json_begin(&json, NULL, '{');
    json_begin(&json, "servers", '[');
    bool found = servers_each(program->generation, upstream, server_to_json, &json);
    json_end(&json, ']');
    json_end(&json, '}');
    bytes_append_char(out, '\n');
    if (!found) {
        out->size = begin;
        out->data[begin] = 0;
    }
    return found || refuse_upstream(upstream, out);
}

/* --- orders ----------------------------------------------------------------------------------------------------- */

/* An order in course. */
struct wish {
    struct keeper *keeper;
    const char *name;
    enum standing_kind kind;
    uint32_t value;
    struct bytes *answer;
    bool found;
    bool failed;
};

/* How a name means a server: "db.internal:5432" all of "db.internal:5432/10.0.0.1:5432",
 * "db.internal:5432/10.0.0.2:5432"; but "unix:/run/db" does not mean "unix:/run/db/5432.sock". */
enum meaning { MEANS_OTHERS, MEANS_ALL, MEANS_ONE };

static enum meaning name_means(const char *name, const struct upstream *upstream, const struct server *server) {
    size_t upstream_size = strlen(upstream->name);
    size_t size = server_configured_size(server);
    if (strncmp(name, upstream->name, upstream_size) != 0 || name[upstream_size] != '/') {
        return MEANS_OTHERS;
    }
    const char *wanted = name + upstream_size + 1;
    if (strncmp(wanted, server->name, size) != 0) {
        return MEANS_OTHERS;
    }
    const char *rest = wanted + size;
    if (*rest == 0) {
        return MEANS_ALL;
    }
    return *rest == '/' && strcmp(rest + 1, server->address_text) == 0 ? MEANS_ONE : MEANS_OTHERS;
}

static void append_place(struct bytes *out, const struct upstream *upstream, const struct server *server) {
    append_name(out, upstream->name);
    bytes_append_char(out, '/');
    append_name(out, server->name);
}

/* "web/a is drained, weight 1, 12 sessions: ..." */
static void answer_state(const struct upstream *upstream, const struct server *server, struct bytes *answer) {
    const struct server_numbers numbers = server_numbers(server);
    struct bytes why;
    bytes_init(&why);
    append_why(&why, server, &numbers);
    append_place(answer, upstream, server);
    bytes_printf(answer, " is %s, weight %u, %u sessions%s%s\n", health_name(numbers.out), numbers.weight,
                 numbers.active, why.size > 0 ? ": " : "", why.data);
    bytes_finish(&why);
}

static void wish_fulfil(const struct upstream *upstream, const struct server *server, void *to) {
    struct wish *wish = to;
    enum meaning meaning = name_means(wish->name, upstream, server);
    if (meaning == MEANS_OTHERS || wish->failed) {
        return;
    }
    bool is_one = meaning == MEANS_ONE;
    wish->found = true;
    wish->failed = wish->kind == STANDING_OUT ? !keeper_order(wish->keeper, upstream, server, is_one, wish->value)
                                              : !keeper_weigh(wish->keeper, upstream, server, is_one, wish->value);
    if (!wish->failed) {
        answer_state(upstream, server, wish->answer);
    }
}

/* What is wanted of a server that has left the configuration can be taken back. */
static bool wish_forget(struct wish *wish) {
    return wish->value == 0 &&
           standing_orders_forget(&wish->keeper->orders, wish->name, wish->kind, wish->keeper->generation->number);
}

static bool wish_run(struct program *program, struct wish *wish) {
    servers_each(program->generation, NULL, wish_fulfil, wish);
    if (wish->failed) {
        bytes_printf(wish->answer, "there are orders for %d servers already: enable some first\n", STANDING_ORDERS_MAX);
        return false;
    }
    if (wish->found) {
        return true;
    }
    bool forgotten = wish_forget(wish);
    bytes_append_text(wish->answer, forgotten ? "" : "there is no server \"");
    append_name(wish->answer, wish->name);
    bytes_append_text(wish->answer, forgotten
                                        ? " is not in the configuration; nothing special holds when it comes back\n"
                                        : "\": write UPSTREAM/SERVER as `moonring ctl upstreams` shows them\n");
    return forgotten;
}

bool servers_order(struct program *program, const char *name, uint32_t wanted, struct bytes *answer) {
    struct wish wish = {
        .keeper = &program->keeper, .name = name, .kind = STANDING_OUT, .value = wanted, .answer = answer};
    return wish_run(program, &wish);
}

bool servers_weigh(struct program *program, const char *name, const char *weight, struct bytes *answer) {
    uint64_t number = 0;
    struct error error;
    if (weight != NULL && !units_parse_integer(weight, 1, 1000, &number, &error)) {
        bytes_printf(answer, "weight: %s; to give it no sessions: moonring ctl drain\n", error.text);
        return false;
    }
    struct wish wish = {
        .keeper = &program->keeper, .name = name, .kind = STANDING_WEIGHT, .value = (uint32_t)number, .answer = answer};
    return wish_run(program, &wish);
}

/* --- in short ----------------------------------------------------------------------------------------------------- */

static const char *const states[] = {"up", "down", "ejected", "drained", "disabled"};
enum { STATES = sizeof states / sizeof states[0] };

static void count_server(const struct upstream *upstream, const struct server *server, void *to) {
    uint64_t *counts = to;
    const char *name = health_name(server_numbers(server).out);
    (void)upstream;
    for (size_t i = 0; i < STATES; i++) {
        counts[i] += strcmp(states[i], name) == 0;
    }
}

void servers_count(const struct generation *generation, struct bytes *out) {
    uint64_t counts[STATES] = {0};
    servers_each(generation, NULL, count_server, counts);
    for (size_t i = 0; i < STATES; i++) {
        if (i == 0 || counts[i] > 0) {
            bytes_printf(out, "%s%lu %s", i == 0 ? "" : ", ", (unsigned long)counts[i], states[i]);
        }
    }
}

static void append_wish(struct bytes *out, uint32_t wanted, uint32_t weight) {
    if (wanted != 0) {
        bytes_printf(out, " %s", health_name(wanted));
    }
    if (weight != 0) {
        bytes_printf(out, " weight %u", weight);
    }
}

static void list_wish(const struct upstream *upstream, const struct server *server, void *to) {
    const struct health *health = &server->state->health;
    uint32_t wanted = atomic_load(&health->out) & HEALTH_BY_OPERATOR;
    uint32_t weight = atomic_load(&health->weight);
    struct bytes *out = to;
    if (wanted != 0 || weight != 0) {
        bytes_append_text(out, out->size > 0 ? ", " : "");
        append_place(out, upstream, server);
        append_wish(out, wanted, weight);
    }
}

/* Those that are wanted of servers that the configuration does not have now. */
static void list_absent(const struct keeper *keeper, struct bytes *out) {
    for (size_t i = 0; i < keeper->orders.count; i++) {
        const struct standing_order *order = &keeper->orders.items[i];
        bool is_exception = order->wanted[STANDING_OUT] == 0 && order->wanted[STANDING_WEIGHT] == 0;
        if (order->generation != keeper->generation->number && !is_exception) {
            bytes_append_text(out, out->size > 0 ? ", " : "");
            append_name(out, order->upstream);
            bytes_append_char(out, '/');
            append_name(out, order->server);
            bytes_append_text(out, order->address[0] == 0 ? "" : "/");
            append_name(out, order->address);
            append_wish(out, order->wanted[STANDING_OUT], order->wanted[STANDING_WEIGHT]);
            bytes_append_text(out, " (absent)");
        }
    }
}

void servers_list_wishes(const struct program *program, const char *before, struct bytes *out) {
    struct bytes list;
    bytes_init(&list);
    servers_each(program->generation, NULL, list_wish, &list);
    list_absent(&program->keeper, &list);
    if (list.size > 0) {
        bytes_append_text(out, before);
        bytes_append(out, list.data, list.size);
    }
    bytes_finish(&list);
}
