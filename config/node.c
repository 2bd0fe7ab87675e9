#include "config/node.h"

#include <stdlib.h>
#include <string.h>

/* An entry that a map may get: its own ones in their order, then those of merged maps. */
struct candidate {
    struct node_entry entry;
    size_t order;
    bool merged;
    bool dropped;
};

struct candidates {
    struct candidate *list;
    size_t count;
};

void node_append(struct node *node, struct node *key, struct node *value, struct arena *arena) {
    if (node->entries_count == node->entries_capacity) {
        size_t capacity = node->entries_capacity > 0 ? 2 * node->entries_capacity : 4;
        struct node_entry *entries = arena_take(arena, capacity * sizeof(entries[0]));
        if (node->entries_count > 0) {
            memcpy(entries, node->entries, node->entries_count * sizeof(entries[0]));
        }
        node->entries = entries;
        node->entries_capacity = capacity;
    }
    node->entries[node->entries_count++] = (struct node_entry){key, value};
    node->weight += value->weight;
    node->height = value->height >= node->height ? value->height + 1 : node->height;
}

struct node *node_make_map(struct span span, struct arena *arena) {
    struct node *node = arena_take(arena, sizeof(*node));
    *node = (struct node){.kind = NODE_MAP, .span = span, .weight = 1, .height = 1};
    return node;
}

static bool key_is_merge(const struct node *key) {
    return !key->quoted && strcmp(key->text, "<<") == 0;
}

static int candidate_compare_keys(const void *left, const void *right) {
    const struct candidate *a = left;
    const struct candidate *b = right;
    int order = strcmp(a->entry.key->text, b->entry.key->text);
    return order != 0 ? order : a->order < b->order ? -1 : 1;
}

static int candidate_compare_order(const void *left, const void *right) {
    const struct candidate *a = left;
    const struct candidate *b = right;
    return a->order < b->order ? -1 : 1;
}

static size_t merged_entries_count(const struct node *value) {
    size_t count = 0;
    for (size_t index = 0; index < node_items_count(value); index++) {
        const struct node *map = node_item(value, index);
        count += map->kind == NODE_MAP ? map->entries_count : 0;
    }
    return count;
}

static void candidates_add(struct candidates *candidates, struct node_entry entry, bool merged) {
    candidates->list[candidates->count] =
        (struct candidate){.entry = entry, .order = candidates->count, .merged = merged};
    candidates->count++;
}

static void candidates_merge(struct candidates *candidates, const struct node *value, struct findings *findings) {
    for (size_t index = 0; index < node_items_count(value); index++) {
        const struct node *map = node_item(value, index);
        if (map->kind != NODE_MAP) {
            findings_add(findings, CODE_MERGE, map->span, "write an alias of a map, or a list of such",
                         "<<: only a map can be merged");
            continue;
        }
        for (size_t entry = 0; entry < map->entries_count; entry++) {
            candidates_add(candidates, map->entries[entry], true);
        }
    }
}

void node_report_duplicate(const struct node *again, const struct node *first, struct findings *findings) {
    findings_add(findings, CODE_DUPLICATE_KEY, again->span,
                 key_is_merge(again) ? "write one, with a list: <<: [*a, *b]" : "rename or remove one of the two",
                 "the key %s is there twice", findings_quote(findings, again->text));
    findings_note(findings, first->span, "the first one");
}

/* Of several entries with one key the first wins; the merged ones stand last. */
static void candidates_drop_repeated(struct candidates *candidates, struct findings *findings) {
    const struct candidate *first = candidates->list;
    qsort(candidates->list, candidates->count, sizeof(candidates->list[0]), candidate_compare_keys);
    for (size_t index = 1; index < candidates->count; index++) {
        struct candidate *candidate = &candidates->list[index];
        if (strcmp(first->entry.key->text, candidate->entry.key->text) != 0) {
            first = candidate;
            continue;
        }
        candidate->dropped = true;
        if (!candidate->merged) {
            node_report_duplicate(candidate->entry.key, first->entry.key, findings);
        }
    }
    qsort(candidates->list, candidates->count, sizeof(candidates->list[0]), candidate_compare_order);
}

static struct candidates candidates_collect(const struct node *map, struct arena *arena, struct findings *findings) {
    size_t count = map->entries_count;
    for (size_t index = 0; index < map->entries_count; index++) {
        const struct node_entry *entry = &map->entries[index];
        count += key_is_merge(entry->key) ? merged_entries_count(entry->value) : 0;
    }
    struct candidates candidates = {.list = arena_take(arena, count * sizeof(candidates.list[0]))};
    for (size_t index = 0; index < map->entries_count; index++) {
        if (!key_is_merge(map->entries[index].key)) {
            candidates_add(&candidates, map->entries[index], false);
        }
    }
    const struct node *merge = NULL;
    for (size_t index = 0; index < map->entries_count; index++) {
        const struct node_entry *entry = &map->entries[index];
        if (key_is_merge(entry->key) && merge != NULL) {
            node_report_duplicate(entry->key, merge, findings);
        } else if (key_is_merge(entry->key)) {
            merge = entry->key;
            candidates_merge(&candidates, entry->value, findings);
        }
    }
    return candidates;
}

void node_settle_map(struct node *map, struct arena *arena, struct findings *findings) {
    struct candidates candidates = candidates_collect(map, arena, findings);
    candidates_drop_repeated(&candidates, findings);
    map->entries_count = 0;
    map->entries_capacity = 0;
    map->weight = 1;
    map->height = 1;
    for (size_t index = 0; index < candidates.count; index++) {
        const struct candidate *candidate = &candidates.list[index];
        if (!candidate->dropped) {
            node_append(map, candidate->entry.key, candidate->entry.value, arena);
        }
    }
}

const struct node_entry *node_entry(const struct node *node, const char *key) {
    if (node == NULL || node->kind != NODE_MAP) {
        return NULL;
    }
    for (size_t index = 0; index < node->entries_count; index++) {
        if (strcmp(node->entries[index].key->text, key) == 0) {
            return &node->entries[index];
        }
    }
    return NULL;
}

const struct node *node_child(const struct node *node, const char *key) {
    const struct node_entry *entry = node_entry(node, key);
    return entry != NULL ? entry->value : NULL;
}

size_t node_items_count(const struct node *node) {
    if (node == NULL) {
        return 0;
    }
    return node->kind == NODE_LIST ? node->entries_count : 1;
}

const struct node *node_item(const struct node *node, size_t index) {
    return node->kind == NODE_LIST ? node->entries[index].value : node;
}

bool node_is_empty(const struct node *node) {
    return node->kind == NODE_SCALAR && !node->quoted && node->text[0] == 0;
}

const char *node_kind_name(enum node_kind kind) {
    switch (kind) {
    case NODE_SCALAR:
        return "a plain value";
    case NODE_LIST:
        return "a list";
    case NODE_MAP:
        return "a section";
    }
    return "";
}
