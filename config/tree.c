/* The only place that knows libyaml. It uses the parser's events and keeps its own stack, because libyaml itself limits
 * neither depth nor size, expands no aliases, and does not notice keys that are there twice. */
#include "config/tree.h"

#include "config/syntax.h"
#include "config/utf8.h"
#include "config/variables.h"

#include <setjmp.h>
#include <stdlib.h>
#include <string.h>
#include <yaml.h>

enum {
    DEPTH_MAX = 32,
    ANCHORS_MAX = 1000,
    NODES_MAX = 250000, /* a file of 4 MiB has about as many */
};

struct anchor {
    struct anchor *next;
    const char *name;
    struct node *node;
};

/* A list or map whose end is not read yet. */
struct frame {
    struct node *node;
    struct node *key; /* of the value that comes next; NULL: a key comes next, or it is a list */
};

struct tree_reader {
    struct arena *arena;
    struct findings *findings;
    size_t size;   /* of all sources so far */
    size_t weight; /* of all their nodes, those that aliases repeat included */

    const struct source *source; /* what is being read, and how far: */
    yaml_parser_t parser;
    yaml_event_t event;
    struct frame frames[DEPTH_MAX];
    size_t depth;
    struct anchor *anchors; /* the newest first */
    size_t anchors_count;
    size_t documents_count;
    struct node *root; /* NULL: the source is empty */
};

/* ---- events -> nodes ---- */

static struct span event_span(const struct tree_reader *reader) {
    const yaml_event_t *event = &reader->event;
    return (struct span){
        {(uint32_t)event->start_mark.line + 1, (uint32_t)event->start_mark.column + 1},
        {(uint32_t)event->end_mark.line + 1, (uint32_t)event->end_mark.column + 1},
        reader->source,
    };
}

static bool node_add(struct tree_reader *reader, struct node *node) {
    if (reader->depth == 0) {
        reader->root = node;
        return true;
    }
    struct frame *frame = &reader->frames[reader->depth - 1];
    if (frame->node->kind == NODE_LIST || frame->key != NULL) {
        node_append(frame->node, frame->key, node, reader->arena);
        frame->key = NULL;
        return true;
    }
    if (node->kind != NODE_SCALAR) {
        findings_add(reader->findings, CODE_KEY_KIND, node->span, NULL, "a key is a plain text");
        return false;
    }
    frame->key = node;
    return true;
}

static bool weight_add(struct tree_reader *reader, size_t weight) {
    reader->weight += weight;
    if (reader->weight > NODES_MAX) {
        findings_add(reader->findings, CODE_NODES, event_span(reader), NULL,
                     "here are more than %d values, those that aliases repeat included", NODES_MAX);
        return false;
    }
    return true;
}

static bool depth_check(struct tree_reader *reader, struct span span, size_t height) {
    if (reader->depth + height > DEPTH_MAX) {
        findings_add(reader->findings, CODE_DEPTH, span, NULL, "this is nested deeper than %d levels%s", DEPTH_MAX,
                     reader->event.type == YAML_ALIAS_EVENT ? ", those that the alias repeats included" : "");
        return false;
    }
    return true;
}

static bool anchor_add(struct tree_reader *reader, const yaml_char_t *name, struct node *node) {
    if (name == NULL) {
        return true;
    }
    if (reader->anchors_count == ANCHORS_MAX) {
        findings_add(reader->findings, CODE_ANCHORS, node->span, NULL, "there are more than %d anchors", ANCHORS_MAX);
        return false;
    }
    struct anchor *anchor = arena_take(reader->arena, sizeof(*anchor));
    const char *text = (const char *)name;
    *anchor = (struct anchor){reader->anchors, arena_copy(reader->arena, text, strlen(text)), node};
    reader->anchors = anchor;
    reader->anchors_count++;
    return true;
}

static void refuse_tag(struct tree_reader *reader, const yaml_char_t *tag, struct span span) {
    static const char standard[] = "tag:yaml.org,2002:";
    if (tag == NULL) {
        return;
    }
    const char *text = (const char *)tag;
    bool is_standard = strncmp(text, standard, strlen(standard)) == 0;
    const char *written = is_standard ? arena_printf(reader->arena, "!!%s", text + strlen(standard)) : text;
    findings_add(reader->findings, CODE_TAG, span, "remove it: the key decides about the type",
                 "the tag %s has no meaning here", findings_quote(reader->findings, written));
}

static struct node *node_make(struct tree_reader *reader, enum node_kind kind) {
    struct node *node = arena_take(reader->arena, sizeof(*node));
    node->kind = kind;
    node->span = event_span(reader);
    node->weight = 1;
    node->height = kind == NODE_SCALAR ? 0 : 1;
    return node;
}

/* Escapes (`\x00`) bring characters into a text that the file may not have. */
static bool scalar_check(struct tree_reader *reader, const char *text, size_t size) {
    struct span span = event_span(reader);
    if (size > TREE_TEXT_SIZE_MAX) {
        span.end = span.start;
        findings_add(reader->findings, CODE_SCALAR_SIZE, span, NULL, "this text has %zu bytes (at most 1 MiB)", size);
        return false;
    }
    for (const char *at = text; at < text + size;) {
        uint32_t character = 0;
        size_t length = utf8_decode(at, text + size, &character);
        if (length == 0 || utf8_is_control(character)) {
            findings_add(reader->findings, CODE_CONTROL, span, NULL, "the character U+%04X is not allowed in a text%s",
                         character, character == '\n' ? ": it ends a line" : "");
            return false;
        }
        at += length;
    }
    return true;
}

static bool is_key_next(const struct tree_reader *reader) {
    if (reader->depth == 0) {
        return false;
    }
    const struct frame *frame = &reader->frames[reader->depth - 1];
    return frame->node->kind == NODE_MAP && frame->key == NULL;
}

/* What is wrong is reported, and nobody need look at the text. */
static void scalar_replace(struct tree_reader *reader, struct node *node) {
    const char *text = variables_replace(node->text, node->span, reader->findings);
    node->replaced = text != node->text;
    node->wrong = text == NULL;
    node->quoted = node->quoted && text != NULL;
    node->text = text != NULL ? text : "";
}

static bool event_scalar(struct tree_reader *reader) {
    const char *text = (const char *)reader->event.data.scalar.value;
    size_t size = reader->event.data.scalar.length;
    if (!scalar_check(reader, text, size)) {
        return false;
    }
    struct node *node = node_make(reader, NODE_SCALAR);
    node->quoted = reader->event.data.scalar.style != YAML_PLAIN_SCALAR_STYLE;
    node->text = arena_copy(reader->arena, text, size);
    if (!is_key_next(reader)) {
        scalar_replace(reader, node);
    }
    refuse_tag(reader, reader->event.data.scalar.tag, node->span);
    return weight_add(reader, 1) && anchor_add(reader, reader->event.data.scalar.anchor, node) &&
           node_add(reader, node);
}

static bool event_alias(struct tree_reader *reader) {
    const char *name = (const char *)reader->event.data.alias.anchor;
    const struct anchor *anchor = reader->anchors;
    while (anchor != NULL && strcmp(anchor->name, name) != 0) {
        anchor = anchor->next;
    }
    struct span span = event_span(reader);
    if (anchor == NULL) {
        findings_add(reader->findings, CODE_ANCHOR, span, "quote it if it is a text that begins with *",
                     "there is no anchor \"&%s\" above", name);
        return false;
    }
    if (anchor->node->open) {
        findings_add(reader->findings, CODE_CYCLE, span, NULL, "\"*%s\" stands inside \"&%s\": that has no end", name,
                     name);
        return false;
    }
    return depth_check(reader, span, anchor->node->height) && weight_add(reader, anchor->node->weight) &&
           node_add(reader, anchor->node);
}

static bool event_open(struct tree_reader *reader, enum node_kind kind, const yaml_char_t *anchor,
                       const yaml_char_t *tag) {
    struct node *node = node_make(reader, kind);
    refuse_tag(reader, tag, node->span);
    if (!depth_check(reader, node->span, node->height)) {
        return false;
    }
    node->open = true;
    reader->frames[reader->depth++] = (struct frame){.node = node, .key = NULL};
    return weight_add(reader, 1) && anchor_add(reader, anchor, node);
}

/* The node joins the one above it only now, when its weight is known. */
static bool event_close(struct tree_reader *reader) {
    struct node *node = reader->frames[--reader->depth].node;
    node->open = false;
    node->span.end = event_span(reader).end;
    if (node->kind == NODE_MAP) {
        node_settle_map(node, reader->arena, reader->findings);
    }
    return node_add(reader, node);
}

static bool event_document(struct tree_reader *reader) {
    if (reader->documents_count++ > 0) {
        findings_add(reader->findings, CODE_DOCUMENTS, event_span(reader), NULL,
                     "a second document begins here: a configuration is one");
        return false;
    }
    return true;
}

/* False: nothing after this event can be understood, and why is reported. */
static bool event_read(struct tree_reader *reader) {
    const yaml_event_t *event = &reader->event;
    switch (event->type) {
    case YAML_SCALAR_EVENT:
        return event_scalar(reader);
    case YAML_ALIAS_EVENT:
        return event_alias(reader);
    case YAML_SEQUENCE_START_EVENT:
        return event_open(reader, NODE_LIST, event->data.sequence_start.anchor, event->data.sequence_start.tag);
    case YAML_MAPPING_START_EVENT:
        return event_open(reader, NODE_MAP, event->data.mapping_start.anchor, event->data.mapping_start.tag);
    case YAML_SEQUENCE_END_EVENT:
    case YAML_MAPPING_END_EVENT:
        return event_close(reader);
    case YAML_DOCUMENT_START_EVENT:
        return event_document(reader);
    case YAML_STREAM_START_EVENT:
    case YAML_STREAM_END_EVENT:
    case YAML_DOCUMENT_END_EVENT:
    case YAML_NO_EVENT:
        return true;
    }
    return false;
}

static struct mark mark_from(yaml_mark_t mark) {
    return (struct mark){(uint32_t)mark.line + 1, (uint32_t)mark.column + 1};
}

static void syntax_report(struct tree_reader *reader) {
    const yaml_parser_t *parser = &reader->parser;
    if (parser->error == YAML_MEMORY_ERROR) {
        longjmp(*reader->arena->exhausted, 1);
    }
    struct syntax_error error = {
        .source = reader->source,
        .problem = parser->problem != NULL ? parser->problem : "it is not understood",
        .mark = mark_from(parser->problem_mark),
        .context = mark_from(parser->context != NULL ? parser->context_mark : parser->problem_mark),
    };
    syntax_explain(&error, reader->findings);
}

static bool events_read(struct tree_reader *reader) {
    yaml_parser_set_encoding(&reader->parser, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(&reader->parser, (const yaml_char_t *)reader->source->text, reader->source->size);
    for (bool at_end = false; !at_end;) {
        if (!yaml_parser_parse(&reader->parser, &reader->event)) {
            syntax_report(reader);
            return false;
        }
        at_end = reader->event.type == YAML_STREAM_END_EVENT;
        if (!event_read(reader)) {
            return false;
        }
        yaml_event_delete(&reader->event);
    }
    return true;
}

/* ---- sources ---- */

static bool source_accept(struct tree_reader *reader) {
    struct mark mark;
    unsigned char byte;
    struct findings *findings = reader->findings;
    const struct source *source = reader->source;
    reader->size += source->size;
    if (reader->size > TREE_SIZE_MAX) {
        findings_add(findings, CODE_FILE_SIZE, (struct span){.source = source}, NULL,
                     "the configuration is larger than 4 MiB%s", source->number > 0 ? ", all its files together" : "");
        return false;
    }
    enum source_fault fault = source_check(source, &mark, &byte);
    struct span span = {mark, mark, source};
    switch (fault) {
    case SOURCE_FINE:
        return true;
    case SOURCE_NOT_UTF8:
        findings_add(findings, CODE_UTF8, span, "save the file as UTF-8", "byte 0x%02x is not UTF-8", byte);
        return false;
    case SOURCE_CONTROL:
        findings_add(findings, CODE_CONTROL, span, NULL, "a control character (byte 0x%02x)", byte);
        return false;
    }
    return false;
}

static bool source_parse(struct tree_reader *reader) {
    reader->depth = 0;
    reader->documents_count = 0;
    reader->anchors = NULL;
    reader->anchors_count = 0;
    reader->root = NULL;
    if (!yaml_parser_initialize(&reader->parser)) {
        longjmp(*reader->arena->exhausted, 1);
    }
    bool good = events_read(reader);
    yaml_event_delete(&reader->event);
    yaml_parser_delete(&reader->parser);
    return good;
}

/* ---- the reader ---- */

struct tree_reader *tree_reader_create(struct arena *arena, struct findings *findings) {
    struct tree_reader *reader = calloc(1, sizeof(*reader));
    if (reader != NULL) {
        reader->arena = arena;
        reader->findings = findings;
    }
    return reader;
}

void tree_reader_destroy(struct tree_reader *reader) {
    if (reader != NULL) {
        yaml_event_delete(&reader->event);
        yaml_parser_delete(&reader->parser);
        free(reader);
    }
}

const struct node *tree_read(struct tree_reader *reader, const struct source *source) {
    reader->source = source;
    if (!source_accept(reader) || !source_parse(reader)) {
        return NULL;
    }
    bool empty = reader->root == NULL || node_is_empty(reader->root);
    return empty ? node_make_map((struct span){.source = source}, reader->arena) : reader->root;
}
