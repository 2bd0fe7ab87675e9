#include "program/status.h"

#include "base/log.h"
#include "config/json.h"
#include "engine/ring.h"
#include "program/human.h"
#include "program/server_orders.h"
#include "program/version.h"

#include <string.h>
#include <unistd.h>

static uint64_t now_ms(void) {
    return kernel_now_ns() / 1000000;
}

static uint64_t count_sessions(struct program *program) {
    return program_sessions(program->generation) + program_sessions_before(program);
}

static void append_name(struct bytes *out, const char *name) {
    bytes_append_escaped(out, name, strlen(name));
}

/* --- status ------------------------------------------------------------------------------------------------------- */

static void describe_listener(const struct config_listener *config, struct listener *listener, struct bytes *out) {
    append_name(out, config->name);
    bytes_append_char(out, '\t');
    for (size_t i = 0; i < config->binds_count; i++) {
        bytes_append_text(out, i == 0 ? "" : " ");
        append_name(out, config->binds[i].text);
    }
    bytes_printf(out, "\t%u\t", atomic_load(&listener->quota.active));
    if (config->connections_max == 0) {
        bytes_append_char(out, '-');
    } else {
        bytes_printf(out, "%u", config->connections_max);
    }
    bytes_printf(out, "\t%lu\n", (unsigned long)atomic_load(&listener->accepted_total));
}

static void describe_listeners(const struct generation *generation, struct bytes *out) {
    bytes_append_text(out, "\nLISTENER\tADDRESSES\tSESSIONS\tMAX\tACCEPTED\n");
    for (size_t i = 0; i < generation->config->listeners_count; i++) {
        describe_listener(&generation->config->listeners[i], generation->listeners[i], out);
    }
}

static void describe_servers(const struct program *program, struct bytes *out) {
    bytes_append_text(out, "servers: ");
    servers_count(program->generation, out);
    servers_list_wishes(program, "; by operators: ", out);
    bytes_append_char(out, '\n');
}

void status_describe(struct program *program, struct bytes *out) {
    const struct program_counters *counters = &program->counters;
    bytes_printf(out, "moonring %s, process %d, up ", moonring_version(), (int)getpid());
    human_append_age(out, now_ms() - program->started_ms);
    bytes_printf(out, "\ngeneration %lu, ", (unsigned long)program->generation->number);
    human_append_age(out, now_ms() - program->generation->began_ms);
    bytes_printf(out, " old; %zu in all have sessions\n", program_generations(program));
    bytes_printf(out, "workers: %u\n", program->crew.workers);
    bytes_printf(out, "sessions: %lu of at most %u\n", (unsigned long)count_sessions(program),
                 atomic_load(&program->process.max));
    bytes_printf(out, "reloads: %lu applied, %lu without a change, %lu refused\n", (unsigned long)counters->applied,
                 (unsigned long)counters->unchanged, (unsigned long)counters->refused);
    bytes_printf(out, "log level: %s\n", log_level_name(log_level()));
    bytes_printf(out, "lost lines of the access log: %lu\n", (unsigned long)program_lost_lines(program));
    describe_servers(program, out);
    describe_listeners(program->generation, out);
}

static void listener_to_json(const struct config_listener *config, struct listener *listener, struct json *json) {
    json_begin(json, NULL, '{');
    json_text(json, "listener", config->name);
    json_begin(json, "bind", '[');
    for (size_t i = 0; i < config->binds_count; i++) {
        json_text(json, NULL, config->binds[i].text);
    }
    json_end(json, ']');
    json_number(json, "sessions", atomic_load(&listener->quota.active));
    json_number(json, "max_connections", config->connections_max);
    json_number(json, "accepted_total", atomic_load(&listener->accepted_total));
    json_end(json, '}');
}

static void reloads_to_json(const struct program_counters *counters, struct json *json) {
    json_begin(json, "reloads", '{');
    json_number(json, "applied", counters->applied);
    json_number(json, "unchanged", counters->unchanged);
    json_number(json, "refused", counters->refused);
    json_number(json, "took_ms", counters->took_ms);
    json_end(json, '}');
}

static void servers_to_json_in_short(const struct program *program, struct json *json) {
    struct bytes text;
    bytes_init(&text);
    servers_count(program->generation, &text);
    json_text(json, "servers", text.data);
    bytes_clear(&text);
    servers_list_wishes(program, "", &text);
    json_text(json, "servers_by_operators", text.data);
    bytes_finish(&text);
}

void status_to_json(struct program *program, struct bytes *out) {
    const struct generation *generation = program->generation;
    struct json json = {.out = out};
    json_begin(&json, NULL, '{');
    json_text(&json, "version", moonring_version());
    json_number(&json, "process", (uint64_t)getpid());
    json_number(&json, "age_ms", now_ms() - program->started_ms);
    json_number(&json, "generation", generation->number);
    json_number(&json, "generation_age_ms", now_ms() - generation->began_ms);
    json_number(&json, "generations", program_generations(program));
    json_number(&json, "workers", program->crew.workers);
    json_number(&json, "sessions", count_sessions(program));
    json_number(&json, "max_connections", atomic_load(&program->process.max));
    json_text(&json, "log_level", log_level_name(log_level()));
    json_number(&json, "access_log_lost_lines", program_lost_lines(program));
    reloads_to_json(&program->counters, &json);
    servers_to_json_in_short(program, &json);
    json_begin(&json, "listeners", '[');
    for (size_t i = 0; i < generation->config->listeners_count; i++) {
        listener_to_json(&generation->config->listeners[i], generation->listeners[i], &json);
    }
    json_end(&json, ']');
    json_end(&json, '}');
    bytes_append_char(out, '\n');
}

/* --- generations -------------------------------------------------------------------------------------------------- */

/* NULL: it has no filters. */
static const char *generation_filters(const struct program *program, const struct generation *generation) {
    if (generation->parts[0].scripts == NULL) {
        return NULL;
    }
    bool old = generation != program->generation && generation_has_old_scripts(generation, program->generation);
    return old ? "old" : "today's";
}

typedef void generation_tell_fn(struct program *program, const struct generation *generation, void *to);

/* The newest first. */
static void generations_each(struct program *program, generation_tell_fn *tell, void *to) {
    tell(program, program->generation, to);
    for (struct link *link = program->retired.head.previous; link != &program->retired.head; link = link->previous) {
        tell(program, container_of(link, struct generation, link), to);
    }
}

static void describe_generation(struct program *program, const struct generation *generation, void *to) {
    struct bytes *out = to;
    const char *filters = generation_filters(program, generation);
    bytes_printf(out, "%lu\t%lu\t", (unsigned long)generation->number, (unsigned long)program_sessions(generation));
    human_append_age(out, now_ms() - generation->began_ms);
    bytes_append_char(out, '\t');
    if (generation == program->generation) {
        bytes_append_text(out, "at work");
    } else {
        bytes_append_text(out, "replaced ");
        human_append_age(out, now_ms() - generation->replaced_ms);
        bytes_append_text(out, " ago");
    }
    bytes_printf(out, "\t%s\n", filters == NULL ? "-" : filters);
}

void generations_describe(struct program *program, struct bytes *out) {
    bytes_append_text(out, "GENERATION\tSESSIONS\tAGE\tSTATE\tFILTERS\n");
    generations_each(program, describe_generation, out);
}

static void generation_to_json(struct program *program, const struct generation *generation, void *to) {
    struct json *json = to;
    const char *filters = generation_filters(program, generation);
    bool at_work = generation == program->generation;
    json_begin(json, NULL, '{');
    json_number(json, "generation", generation->number);
    json_number(json, "sessions", program_sessions(generation));
    json_number(json, "age_ms", now_ms() - generation->began_ms);
    json_bool(json, "at_work", at_work);
    if (!at_work) {
        json_number(json, "replaced_ms", now_ms() - generation->replaced_ms);
    }
    json_bool(json, "filters", filters != NULL);
    json_bool(json, "old_filters", filters != NULL && strcmp(filters, "old") == 0);
    json_end(json, '}');
}

void generations_to_json(struct program *program, struct bytes *out) {
    struct json json = {.out = out};
    json_begin(&json, NULL, '{');
    json_begin(&json, "generations", '[');
    generations_each(program, generation_to_json, &json);
    json_end(&json, ']');
    json_end(&json, '}');
    bytes_append_char(out, '\n');
}
