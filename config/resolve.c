#include "config/resolve.h"

#include "config/nearest.h"

#include <stdlib.h>
#include <string.h>

/* A listener's `upstream`, or an upstream's definition. */
struct name {
    const char *text;
    const struct node *node;
    size_t index; /* of the listener or of the upstream */
};

struct names {
    struct name *list; /* sorted */
    size_t count;
};

/* One text means different things in files of different folders when it is a relative path. */
static int name_compare_meaning(const struct name *a, const struct name *b) {
    int order = strcmp(a->text, b->text);
    return order != 0 ? order : strcmp(a->node->span.source->folder, b->node->span.source->folder);
}

static int name_compare(const void *left, const void *right) {
    const struct name *a = left;
    const struct name *b = right;
    int order = name_compare_meaning(a, b);
    return order != 0 ? order : a->index < b->index ? -1 : 1;
}

static int name_compare_text(const void *left, const void *right) {
    return strcmp(((const struct name *)left)->text, ((const struct name *)right)->text);
}

static void names_add(struct names *names, const char *text, const struct node *node, size_t index) {
    names->list[names->count++] = (struct name){text, node, index};
}

static struct names collect_references(struct apply *apply, const struct node *tree) {
    const struct node *listeners = node_child(tree, "listeners");
    size_t count = apply->root->config.listeners_count;
    struct names names = {.list = arena_take(apply->findings->arena, count * sizeof(names.list[0]))};
    for (size_t index = 0; index < count; index++) {
        const struct node *node = node_child(listeners->entries[index].value, "upstream");
        if (node != NULL && node->kind == NODE_SCALAR && !node_is_empty(node)) {
            names_add(&names, node->text, node, index);
        }
    }
    qsort(names.list, names.count, sizeof(names.list[0]), name_compare);
    return names;
}

static struct names collect_definitions(struct apply *apply, const struct node *tree) {
    const struct node *upstreams = node_child(tree, "upstreams");
    const struct config *config = &apply->root->config;
    struct names names = {.list = arena_take(apply->findings->arena, config->upstreams_count * sizeof(names.list[0]))};
    for (size_t index = 0; index < config->upstreams_count; index++) {
        names_add(&names, config->upstreams[index].name, upstreams->entries[index].key, index);
    }
    qsort(names.list, names.count, sizeof(names.list[0]), name_compare);
    return names;
}

static void report_undefined(struct apply *apply, const struct name *reference, const struct names *definitions,
                             const struct value_problem *problem) {
    struct nearest nearest;
    nearest_init(&nearest, reference->text);
    for (size_t index = 0; index < definitions->count && !findings_are_full(apply->findings); index++) {
        nearest_offer(&nearest, definitions->list[index].text);
    }
    bool address_is_meant =
        strchr(reference->text, ':') != NULL || reference->text[strspn(reference->text, "0123456789.")] == 0;
    if (address_is_meant) {
        findings_add(apply->findings, problem->code, reference->node->span, problem->hint.text, "upstream: %s",
                     problem->message.text);
        return;
    }
    const char *hint = "define it under \"upstreams\", or write an address";
    if (nearest.best != NULL) {
        hint = arena_printf(apply->findings->arena, "did you mean \"%s\"?", nearest.best);
    }
    findings_add(apply->findings, CODE_UNDEFINED_UPSTREAM, reference->node->span, hint, "there is no upstream %s",
                 findings_quote(apply->findings, reference->text));
}

/* An upstream of one server. False: the text is no address. */
static bool make_upstream(struct apply *apply, const struct name *reference, struct config_upstream *upstream,
                          struct value_problem *problem) {
    struct config_server *server = arena_take(apply->kept, sizeof(*server));
    apply_fallbacks(apply, &server_section, server);
    apply_fallbacks(apply, &upstream_section, upstream);
    if (!apply_value(apply, schema_find(&server_section, server_section.shorthand), reference->node, server, problem)) {
        return false;
    }
    server->place = apply_place(apply, reference->node);
    upstream->place = server->place;
    upstream->name = server->name;
    upstream->servers = server;
    upstream->servers_count = 1;
    return true;
}

/* The upstreams, with room for one more for each listener. */
static void make_room(struct apply *apply, size_t references_count) {
    struct config *config = &apply->root->config;
    size_t count = config->upstreams_count + references_count;
    struct config_upstream *upstreams = arena_take(apply->kept, count * sizeof(upstreams[0]));
    if (config->upstreams_count > 0) {
        memcpy(upstreams, config->upstreams, config->upstreams_count * sizeof(upstreams[0]));
    }
    config->upstreams = upstreams;
}

/* Finds or makes the upstream of a reference. The references are sorted: equal ones follow one another. */
static bool resolve(struct apply *apply, const struct name *reference, const struct names *definitions, size_t *index) {
    struct config *config = &apply->root->config;
    const struct name *found = NULL;
    if (definitions->count > 0) {
        found = bsearch(reference, definitions->list, definitions->count, sizeof(*found), name_compare_text);
    }
    if (found != NULL) {
        *index = found->index;
        return true;
    }
    struct value_problem problem;
    if (!make_upstream(apply, reference, &config->upstreams[config->upstreams_count], &problem)) {
        report_undefined(apply, reference, definitions, &problem);
        return false;
    }
    *index = config->upstreams_count++;
    return true;
}

static void warn_of_unused(struct apply *apply, const struct names *definitions, const bool *used) {
    for (size_t index = 0; index < definitions->count; index++) {
        const struct name *definition = &definitions->list[index];
        if (!used[definition->index]) {
            findings_add(apply->findings, CODE_UNUSED_UPSTREAM, definition->node->span, NULL,
                         "no listener uses upstream %s", findings_quote(apply->findings, definition->text));
        }
    }
}

/* Scripts may name upstreams, too. */
static bool has_filters(const struct config *config) {
    for (size_t index = 0; index < config->listeners_count; index++) {
        if (config->listeners[index].filters_count > 0) {
            return true;
        }
    }
    return false;
}

void resolve_upstreams(struct apply *apply, const struct node *tree) {
    struct config *config = &apply->root->config;
    struct names references = collect_references(apply, tree);
    struct names definitions = collect_definitions(apply, tree);
    make_room(apply, references.count);
    bool *used = arena_take(apply->findings->arena, config->upstreams_count + references.count);
    for (size_t index = 0; index < references.count; index++) {
        const struct name *reference = &references.list[index];
        const struct name *before = index > 0 ? reference - 1 : NULL;
        size_t *upstream = &config->listeners[reference->index].upstream;
        bool same = before != NULL && name_compare_meaning(before, reference) == 0;
        if (same && config->listeners[before->index].upstream != SIZE_MAX) {
            *upstream = config->listeners[before->index].upstream;
        } else if (resolve(apply, reference, &definitions, upstream)) {
            used[*upstream] = true;
        }
    }
    /* A misspelt reference would bring a warning that helps nobody. */
    if (apply->findings->errors_count == 0 && !has_filters(config)) {
        warn_of_unused(apply, &definitions, used);
    }
}
