/* The only place that knows libyaml. It uses the parser's events and keeps its own stack, because libyaml itself limits
 * neither depth nor size, expands no aliases, and does not notice keys that are there twice. */
#include "config/load.h"

#include "base/check.h"
#include "config/apply.h"
#include "config/syntax.h"
#include "config/utf8.h"
#include "config/validate.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <yaml.h>

enum {
    FILE_SIZE_MAX = 4 << 20,
    SCALAR_SIZE_MAX = 1 << 20,
    DEPTH_MAX = 32,
    ANCHORS_MAX = 1000,
    NODES_MAX = 250000,        /* a file of 4 MiB has about as many */
    ARENA_SIZE_MAX = 256 << 20 /* far above what NODES_MAX can need */
};

static const char byte_order_mark[] = "\xef\xbb\xbf";

/* What config_load gives out, and what it lies in. */
struct loaded {
    struct config_root root; /* first: config_destroy gets a pointer to the config that it begins with */
    struct arena arena;
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

/* One load, from text to configuration. */
struct loading {
    jmp_buf exhausted;
    struct arena arena; /* of all that is not needed afterwards */
    struct source source;
    struct findings findings;
    struct loaded *loaded;

    yaml_parser_t parser;
    yaml_event_t event;
    struct frame frames[DEPTH_MAX];
    size_t depth;
    struct anchor *anchors; /* the newest first */
    size_t anchors_count;
    size_t weight; /* of all nodes so far, those that aliases repeat included */
    size_t documents_count;
    struct node *tree; /* NULL: the file is empty */
};

/* ---- events -> nodes ---- */

static struct span event_span(const yaml_event_t *event) {
    return (struct span){
        {(uint32_t)event->start_mark.line + 1, (uint32_t)event->start_mark.column + 1},
        {(uint32_t)event->end_mark.line + 1, (uint32_t)event->end_mark.column + 1},
    };
}

static bool node_add(struct loading *loading, struct node *node) {
    if (loading->depth == 0) {
        loading->tree = node;
        return true;
    }
    struct frame *frame = &loading->frames[loading->depth - 1];
    if (frame->node->kind == NODE_LIST || frame->key != NULL) {
        node_append(frame->node, frame->key, node, &loading->arena);
        frame->key = NULL;
        return true;
    }
    if (node->kind != NODE_SCALAR) {
        findings_add(&loading->findings, CODE_KEY_KIND, node->span, NULL, "a key is a plain text");
        return false;
    }
    frame->key = node;
    return true;
}

static bool weight_add(struct loading *loading, size_t weight) {
    loading->weight += weight;
    if (loading->weight > NODES_MAX) {
        findings_add(&loading->findings, CODE_NODES, event_span(&loading->event), NULL,
                     "here are more than %d values, those that aliases repeat included", NODES_MAX);
        return false;
    }
    return true;
}

static bool anchor_add(struct loading *loading, const yaml_char_t *name, struct node *node) {
    if (name == NULL) {
        return true;
    }
    if (loading->anchors_count == ANCHORS_MAX) {
        findings_add(&loading->findings, CODE_ANCHORS, node->span, NULL, "there are more than %d anchors", ANCHORS_MAX);
        return false;
    }
    struct anchor *anchor = arena_take(&loading->arena, sizeof(*anchor));
    const char *text = (const char *)name;
    *anchor = (struct anchor){loading->anchors, arena_copy(&loading->arena, text, strlen(text)), node};
    loading->anchors = anchor;
    loading->anchors_count++;
    return true;
}

static void refuse_tag(struct loading *loading, const yaml_char_t *tag, struct span span) {
    static const char standard[] = "tag:yaml.org,2002:";
    if (tag == NULL) {
        return;
    }
    const char *text = (const char *)tag;
    bool is_standard = strncmp(text, standard, strlen(standard)) == 0;
    const char *written = is_standard ? arena_printf(&loading->arena, "!!%s", text + strlen(standard)) : text;
    findings_add(&loading->findings, CODE_TAG, span, "remove it: the key decides about the type",
                 "the tag %s has no meaning here", findings_quote(&loading->findings, written));
}

static struct node *node_make(struct loading *loading, enum node_kind kind) {
    struct node *node = arena_take(&loading->arena, sizeof(*node));
    node->kind = kind;
    node->span = event_span(&loading->event);
    node->weight = 1;
    return node;
}

/* Escapes (`\x00`) bring characters into a text that the file may not have. */
static bool scalar_check(struct loading *loading, const char *text, size_t size) {
    struct span span = event_span(&loading->event);
    if (size > SCALAR_SIZE_MAX) {
        span.end = span.start;
        findings_add(&loading->findings, CODE_SCALAR_SIZE, span, NULL, "this text has %zu bytes (at most 1 MiB)", size);
        return false;
    }
    for (const char *at = text; at < text + size;) {
        uint32_t character = 0;
        size_t length = utf8_decode(at, text + size, &character);
        if (length == 0 || utf8_is_control(character)) {
            findings_add(&loading->findings, CODE_CONTROL, span, NULL,
                         "the character U+%04X is not allowed in a text%s", character,
                         character == '\n' ? ": it ends a line" : "");
            return false;
        }
        at += length;
    }
    return true;
}

static bool event_scalar(struct loading *loading) {
    const char *text = (const char *)loading->event.data.scalar.value;
    size_t size = loading->event.data.scalar.length;
    if (!scalar_check(loading, text, size)) {
        return false;
    }
    struct node *node = node_make(loading, NODE_SCALAR);
    node->quoted = loading->event.data.scalar.style != YAML_PLAIN_SCALAR_STYLE;
    node->text = arena_copy(&loading->arena, text, size);
    refuse_tag(loading, loading->event.data.scalar.tag, node->span);
    return weight_add(loading, 1) && anchor_add(loading, loading->event.data.scalar.anchor, node) &&
           node_add(loading, node);
}

static bool event_alias(struct loading *loading) {
    const char *name = (const char *)loading->event.data.alias.anchor;
    const struct anchor *anchor = loading->anchors;
    while (anchor != NULL && strcmp(anchor->name, name) != 0) {
        anchor = anchor->next;
    }
    struct span span = event_span(&loading->event);
    if (anchor == NULL) {
        findings_add(&loading->findings, CODE_ANCHOR, span, "quote it if it is a text that begins with *",
                     "there is no anchor \"&%s\" above", name);
        return false;
    }
    if (anchor->node->open) {
        findings_add(&loading->findings, CODE_CYCLE, span, NULL, "\"*%s\" stands inside \"&%s\": that has no end", name,
                     name);
        return false;
    }
    return weight_add(loading, anchor->node->weight) && node_add(loading, anchor->node);
}

static bool event_open(struct loading *loading, enum node_kind kind, const yaml_char_t *anchor,
                       const yaml_char_t *tag) {
    struct node *node = node_make(loading, kind);
    refuse_tag(loading, tag, node->span);
    if (loading->depth == DEPTH_MAX) {
        findings_add(&loading->findings, CODE_DEPTH, node->span, NULL, "this is nested deeper than %d levels",
                     DEPTH_MAX);
        return false;
    }
    node->open = true;
    loading->frames[loading->depth++] = (struct frame){.node = node, .key = NULL};
    return weight_add(loading, 1) && anchor_add(loading, anchor, node);
}

/* The node joins the one above it only now, when its weight is known. */
static bool event_close(struct loading *loading) {
    struct node *node = loading->frames[--loading->depth].node;
    node->open = false;
    node->span.end = event_span(&loading->event).end;
    if (node->kind == NODE_MAP) {
        node_settle_map(node, &loading->arena, &loading->findings);
    }
    return node_add(loading, node);
}

static bool event_document(struct loading *loading) {
    if (loading->documents_count++ > 0) {
        findings_add(&loading->findings, CODE_DOCUMENTS, event_span(&loading->event), NULL,
                     "a second document begins here: a configuration is one");
        return false;
    }
    return true;
}

/* False: nothing after this event can be understood, and why is reported. */
static bool event_read(struct loading *loading) {
    const yaml_event_t *event = &loading->event;
    switch (event->type) {
    case YAML_SCALAR_EVENT:
        return event_scalar(loading);
    case YAML_ALIAS_EVENT:
        return event_alias(loading);
    case YAML_SEQUENCE_START_EVENT:
        return event_open(loading, NODE_LIST, event->data.sequence_start.anchor, event->data.sequence_start.tag);
    case YAML_MAPPING_START_EVENT:
        return event_open(loading, NODE_MAP, event->data.mapping_start.anchor, event->data.mapping_start.tag);
    case YAML_SEQUENCE_END_EVENT:
    case YAML_MAPPING_END_EVENT:
        return event_close(loading);
    case YAML_DOCUMENT_START_EVENT:
        return event_document(loading);
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

static void syntax_report(struct loading *loading) {
    const yaml_parser_t *parser = &loading->parser;
    if (parser->error == YAML_MEMORY_ERROR) {
        longjmp(loading->exhausted, 1);
    }
    struct syntax_error error = {
        .problem = parser->problem != NULL ? parser->problem : "it is not understood",
        .mark = mark_from(parser->problem_mark),
        .context = mark_from(parser->context != NULL ? parser->context_mark : parser->problem_mark),
    };
    syntax_explain(&error, &loading->findings);
}

static bool tree_read(struct loading *loading) {
    yaml_parser_set_encoding(&loading->parser, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(&loading->parser, (const yaml_char_t *)loading->source.text, loading->source.size);
    for (bool at_end = false; !at_end;) {
        if (!yaml_parser_parse(&loading->parser, &loading->event)) {
            syntax_report(loading);
            return false;
        }
        at_end = loading->event.type == YAML_STREAM_END_EVENT;
        if (!event_read(loading)) {
            return false;
        }
        yaml_event_delete(&loading->event);
    }
    return true;
}

/* ---- text -> configuration ---- */

static bool source_accept(struct loading *loading) {
    struct mark mark;
    unsigned char byte;
    struct findings *findings = &loading->findings;
    struct span nowhere = {{0, 0}, {0, 0}};
    if (loading->source.size > FILE_SIZE_MAX) {
        findings_add(findings, CODE_FILE_SIZE, nowhere, NULL, "the configuration is larger than 4 MiB");
        return false;
    }
    switch (source_check(&loading->source, &mark, &byte)) {
    case SOURCE_FINE:
        return true;
    case SOURCE_NOT_UTF8:
        findings_add(findings, CODE_UTF8, (struct span){mark, mark}, "save the file as UTF-8",
                     "byte 0x%02x is not UTF-8", byte);
        return false;
    case SOURCE_CONTROL:
        findings_add(findings, CODE_CONTROL, (struct span){mark, mark}, NULL, "a control character (byte 0x%02x)",
                     byte);
        return false;
    }
    return false;
}

/* The folder of the file that is loaded, absolute: a configuration must mean the same wherever it is looked at. */
static const char *folder_find(struct loading *loading) {
    const char *slash = strrchr(loading->source.name, '/');
    size_t length = slash != NULL ? (size_t)(slash - loading->source.name) : 0;
    const char *folder = arena_copy(&loading->arena, loading->source.name, length);
    if (slash != NULL && folder[0] == '/') {
        return folder;
    }
    if (slash == loading->source.name) {
        return ""; /* the file lies in / */
    }
    char *working = get_current_dir_name();
    const char *absolute =
        arena_printf(&loading->arena, "%s%s%s", working != NULL ? working : "", length > 0 ? "/" : "", folder);
    free(working);
    return absolute;
}

static void loading_run(struct loading *loading) {
    struct arena *kept = &loading->loaded->arena;
    arena_init(&loading->arena, ARENA_SIZE_MAX, &loading->exhausted);
    arena_init(kept, ARENA_SIZE_MAX, &loading->exhausted);
    findings_init(&loading->findings, &loading->arena, &loading->source);
    if (!source_accept(loading) || !tree_read(loading)) {
        return;
    }
    struct node *nothing = node_make(loading, NODE_MAP);
    const struct node *tree = loading->tree != NULL && !node_is_empty(loading->tree) ? loading->tree : nothing;
    struct apply apply = {
        .reader = {.arena = kept, .folder = folder_find(loading)},
        .findings = &loading->findings,
        .file = arena_copy(kept, loading->source.name, strlen(loading->source.name)),
        .root = &loading->loaded->root,
    };
    apply_tree(&apply, tree);
    validate_tree(&apply, tree);
}

static void report_one(struct config_report *report, const char *name, enum code code, const char *message) {
    report->errors_count++;
    bytes_printf(&report->text, "%s: error[%s]: %s\n1 error: nothing was applied\n", name, code_number(code), message);
}

/* Everything that a jump out of the depths leaves behind hangs on `loading` or `loaded`, which the caller frees. */
static bool loading_run_guarded(struct loading *loading, struct config_report *report) {
    if (setjmp(loading->exhausted) != 0) {
        report_one(report, loading->source.name, CODE_MEMORY, "there is not enough memory to load it");
        return false;
    }
    loading_run(loading);
    loading->loaded->arena.exhausted = NULL; /* nothing is taken from it any more */
    findings_report(&loading->findings, report);
    return loading->findings.errors_count == 0;
}

struct config *config_load_text(const char *text, size_t size, const char *name, struct config_report *report) {
    size_t skipped = size >= 3 && memcmp(text, byte_order_mark, 3) == 0 ? 3 : 0;
    struct loading *loading = calloc(1, sizeof(*loading));
    struct loaded *loaded = calloc(1, sizeof(*loaded));
    bool good = false;
    if (loading == NULL || loaded == NULL || !yaml_parser_initialize(&loading->parser)) {
        report_one(report, name, CODE_MEMORY, "there is not enough memory to load it");
        goto free_loading;
    }
    loading->loaded = loaded;
    loading->source = (struct source){.name = name, .text = text + skipped, .size = size - skipped};
    good = loading_run_guarded(loading, report);
    yaml_event_delete(&loading->event);
    yaml_parser_delete(&loading->parser);
    arena_finish(&loading->arena);
free_loading:
    free(loading);
    if (!good && loaded != NULL) {
        config_destroy(&loaded->root.config);
    }
    return good ? &loaded->root.config : NULL;
}

void config_destroy(struct config *config) {
    if (config != NULL) {
        struct loaded *loaded = (struct loaded *)(void *)config;
        arena_finish(&loaded->arena);
        free(loaded);
    }
}

/* ---- files ---- */

/* Reads up to one byte more than a configuration may have. Returns 0 or an errno. */
static int file_read(int descriptor, char *text, size_t *size) {
    *size = 0;
    while (*size <= FILE_SIZE_MAX) {
        ssize_t count = read(descriptor, text + *size, FILE_SIZE_MAX + 1 - *size);
        if (count < 0 && errno == EINTR) {
            continue;
        }
        if (count <= 0) {
            return count < 0 ? errno : 0;
        }
        *size += (size_t)count;
    }
    return 0;
}

static int path_read(const char *path, char *text, size_t *size) {
    if (strcmp(path, "-") == 0) {
        return file_read(STDIN_FILENO, text, size);
    }
    int descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    if (descriptor < 0) {
        return errno;
    }
    int error_number = file_read(descriptor, text, size);
    close(descriptor);
    return error_number;
}

struct config *config_load_file(const char *path, const char *as, struct config_report *report) {
    const char *name = as != NULL ? as : strcmp(path, "-") == 0 ? "standard input" : path;
    char *text = malloc(FILE_SIZE_MAX + 1);
    if (text == NULL) {
        report_one(report, name, CODE_MEMORY, "there is not enough memory to load it");
        return NULL;
    }
    struct config *config = NULL;
    size_t size;
    int error_number = path_read(path, text, &size);
    if (error_number != 0) {
        struct error error;
        error_set(&error, "cannot read %.400s: %s", path, error_name(error_number));
        report_one(report, name, CODE_READ, error.text);
    } else {
        config = config_load_text(text, size, name, report);
    }
    free(text);
    return config;
}

void config_report_init(struct config_report *report) {
    *report = (struct config_report){.errors_count = 0};
    bytes_init(&report->text);
}

void config_report_finish(struct config_report *report) {
    bytes_finish(&report->text);
}
