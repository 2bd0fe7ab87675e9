/* From files to a configuration: which are read, in which order, and what becomes of them when something fails. */
#include "config/load.h"

#include "config/admission.h"
#include "config/apply.h"
#include "config/file.h"
#include "config/include.h"
#include "config/report.h"
#include "config/tree.h"
#include "config/validate.h"

#include <stdlib.h>
#include <string.h>

enum { ARENA_SIZE_MAX = 256 << 20 }; /* far above what a tree can need */

static const char byte_order_mark[] = "\xef\xbb\xbf";

/* What config_load gives out, and what it lies in. */
struct loaded {
    struct config_root root; /* first: config_destroy gets a pointer to the config that it begins with */
    struct arena arena;
};

/* One load. */
struct loading {
    jmp_buf exhausted;
    struct arena arena; /* of all that is not needed afterwards */
    struct findings findings;
    struct includes includes;
    struct tree_reader *reader;
    struct source main; /* the file that was named */
    const char *path;   /* where it was read; NULL: its text comes from no file */
    struct bytes text;  /* of another one */
    struct loaded *loaded;
};

/* ---- files ---- */

static struct source source_from(const char *text, size_t size) {
    size_t skipped = size >= 3 && memcmp(text, byte_order_mark, 3) == 0 ? 3 : 0;
    return (struct source){.text = text + skipped, .size = size - skipped};
}

/* Names and places of a source live as long as the configuration. */
static void source_name(struct source *source, const char *name, const char *path, struct arena *kept) {
    const char *absolute = file_absolute(path, kept);
    source->name = arena_copy(kept, name, strlen(name));
    source->folder = arena_copy(kept, absolute, (size_t)(file_last_part(absolute) - absolute) - 1);
}

/* NULL: it cannot be read, and that is reported. */
static const struct source *include_read(struct loading *loading, const struct include *include) {
    bytes_clear(&loading->text);
    int error_number = file_read(include->path, TREE_SIZE_MAX, &loading->text);
    if (error_number != 0) {
        findings_add(&loading->findings, CODE_READ, include->pattern->span, NULL, "cannot read %s: %s", include->name,
                     error_name(error_number));
        return NULL;
    }
    struct source *source = arena_take(&loading->arena, sizeof(*source));
    *source = source_from(arena_copy(&loading->arena, loading->text.data, loading->text.size), loading->text.size);
    source->number = (uint32_t)(include - loading->includes.list) + 1;
    source_name(source, include->name, include->path, &loading->loaded->arena);
    return source;
}

/* The main file's tree with those of the files that it includes; NULL: it cannot be understood. *complete: no included
 * one is missing. */
static const struct node *files_read(struct loading *loading, bool *complete) {
    const struct node *tree = tree_read(loading->reader, &loading->main);
    *complete = tree != NULL;
    if (tree == NULL || node_entry(tree, "include") == NULL) {
        return tree;
    }
    struct node *whole = include_copy(tree, &loading->arena);
    *complete = includes_find(&loading->includes, tree);
    for (size_t index = 0; index < loading->includes.count; index++) {
        const struct source *source = include_read(loading, &loading->includes.list[index]);
        const struct node *added = source != NULL ? tree_read(loading->reader, source) : NULL;
        if (added != NULL) {
            include_join(whole, added, &loading->findings);
        }
        *complete = *complete && added != NULL;
    }
    include_settle(whole, &loading->findings);
    return whole;
}

/* ---- a load ---- */

static void loading_run(struct loading *loading) {
    struct arena *kept = &loading->loaded->arena;
    struct config_root *root = &loading->loaded->root;
    findings_init(&loading->findings, &loading->arena, &loading->main);
    includes_init(&loading->includes, &loading->main, &loading->findings, kept);
    source_name(&loading->main, loading->main.name, loading->main.name, kept);
    if (loading->path != NULL) {
        includes_watch(&loading->includes, file_absolute(loading->path, kept), NULL);
    }
    if ((loading->reader = tree_reader_create(&loading->arena, &loading->findings)) == NULL) {
        longjmp(loading->exhausted, 1);
    }
    bool complete;
    const struct node *tree = files_read(loading, &complete);
    root->config.folder = loading->main.folder;
    if (tree != NULL) {
        struct apply apply = {.kept = kept, .findings = &loading->findings, .root = root};
        apply_tree(&apply, tree);
        if (complete) { /* rules between keys would miss what stands in the files that are not there */
            validate_tree(&apply, tree);
            admission_read(&apply, &loading->includes, &loading->text, tree);
        }
    }
    root->config.files = loading->includes.files;
    root->config.files_count = loading->includes.files_count;
}

static void report_memory(struct config_report *report, const char *name) {
    report_add_unread(report, name, CODE_MEMORY, "there is not enough memory to load it");
}

/* Everything that a jump out of the depths leaves behind hangs on `loading` or `loaded`, which the caller frees. */
static bool loading_run_guarded(struct loading *loading, const char *name, struct config_report *report) {
    arena_init(&loading->arena, ARENA_SIZE_MAX, &loading->exhausted);
    arena_init(&loading->loaded->arena, ARENA_SIZE_MAX, &loading->exhausted);
    if (setjmp(loading->exhausted) != 0) {
        report_memory(report, name);
        return false;
    }
    loading_run(loading);
    loading->loaded->arena.exhausted = NULL; /* nothing is taken from it any more */
    findings_report(&loading->findings, report);
    report_set_files(report, loading->includes.files, loading->includes.files_count);
    return loading->findings.errors_count == 0;
}

/* `path`: of the file that the source comes from; NULL: from none. */
static struct config *source_load(struct source source, const char *path, struct config_report *report) {
    struct loading *loading = calloc(1, sizeof(*loading));
    struct loaded *loaded = calloc(1, sizeof(*loaded));
    bool good = false;
    if (loading == NULL || loaded == NULL) {
        report_memory(report, source.name);
        goto free_loading;
    }
    loading->loaded = loaded;
    loading->main = source;
    loading->path = path;
    bytes_init(&loading->text);
    good = loading_run_guarded(loading, source.name, report);
    tree_reader_destroy(loading->reader);
    includes_finish(&loading->includes);
    bytes_finish(&loading->text);
    findings_finish(&loading->findings);
    arena_finish(&loading->arena);
free_loading:
    free(loading);
    if (!good && loaded != NULL) {
        config_destroy(&loaded->root.config);
    }
    return good ? &loaded->root.config : NULL;
}

struct config *config_load_text(const char *text, size_t size, const char *name, struct config_report *report) {
    struct source source = source_from(text, size);
    source.name = name;
    return source_load(source, NULL, report);
}

struct config *config_load_made(const char *text, size_t size, const char *name, const char *const *origins,
                                size_t origins_count, struct config_report *report) {
    struct source source = {
        .name = name, .text = text, .size = size, .origins = origins, .origins_count = origins_count};
    return source_load(source, NULL, report);
}

struct config *config_load_file(const char *path, const char *as, struct config_report *report) {
    bool is_stream = strcmp(path, "-") == 0;
    const char *name = as != NULL ? as : is_stream ? "standard input" : path;
    struct config *config = NULL;
    struct bytes text;
    bytes_init(&text);
    int error_number = file_read(path, TREE_SIZE_MAX, &text);
    if (error_number != 0) {
        struct error error;
        error_set(&error, "cannot read %.400s: %s", path, error_name(error_number));
        report_add_unread(report, name, CODE_READ, error.text);
    } else {
        struct source source = source_from(text.data, text.size);
        source.name = name;
        config = source_load(source, is_stream ? NULL : path, report);
    }
    bytes_finish(&text);
    return config;
}

void config_destroy(struct config *config) {
    if (config != NULL) {
        struct loaded *loaded = (struct loaded *)(void *)config;
        arena_finish(&loaded->arena);
        free(loaded);
    }
}
