#include "config/admission.h"

#include "base/hash.h"
#include "config/file.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

enum {
    FILE_SIZE_MAX = 16 << 20, /* what a fingerprint of it covers, too */
    LINE_SIZE_MAX = 100,      /* an address with its prefix has at most 49 characters */
};

/* A file of addresses that was read. */
struct address_file {
    const char *path;
    uint64_t hash;
    const struct cidr *cidrs;
    size_t count;
};

struct reading {
    struct apply *apply;
    struct includes *includes;
    struct bytes *text; /* scratch; somebody else's, in case an arena is exhausted */
    struct address_file *files;
    size_t files_count;
};

/* `allow`, `deny` or `trusted`; a text that was reported as wrong is NULL. */
struct texts {
    const char *const *items;
    size_t count;
    const struct node *node;
};

/* The rules of one listener; counted first, then filled. */
struct rules {
    struct admission_rule *items; /* NULL: they are being counted */
    size_t count;
};

static struct findings *findings_of(const struct reading *reading) {
    return reading->apply->findings;
}

/* ---- lines ---- */

static bool is_blank(char character) {
    return character == ' ' || character == '\t' || character == '\r';
}

static bool is_address_text(const char *text) {
    return text[strspn(text, "0123456789abcdefABCDEF:./")] == 0;
}

static void report_line(struct reading *reading, const char *text, struct span span, const struct error *error) {
    struct findings *findings = findings_of(reading);
    if (is_address_text(text)) {
        findings_add(findings, CODE_CIDR, span, NULL, "%s", error->text);
    } else {
        findings_add(findings, CODE_CIDR, span, "one address or block a line; a comment begins with #",
                     "%s is not a block of IP addresses", findings_quote(findings, text));
    }
}

/* A file may have any byte. */
static bool read_block(const char *text, size_t size, struct cidr *cidr, struct error *error) {
    return strlen(text) == size ? cidr_parse(cidr, text, error) : error_set(error, "there is a byte of 0 in this line");
}

/* Reads what stands between blanks and a comment, if there is something. */
static bool read_line(struct reading *reading, const char *line, size_t size, struct span span, struct cidr *cidr) {
    const char *comment = memchr(line, '#', size);
    size = comment != NULL ? (size_t)(comment - line) : size;
    while (size > 0 && is_blank(line[size - 1])) {
        size--;
    }
    size_t start = 0;
    while (start < size && is_blank(line[start])) {
        start++;
    }
    if (start == size) {
        return false;
    }
    char text[LINE_SIZE_MAX + 1];
    struct error error;
    size_t length = size - start < LINE_SIZE_MAX ? size - start : LINE_SIZE_MAX;
    memcpy(text, line + start, length);
    text[length] = 0;
    span.start.column = (uint32_t)start + 1;
    span.end.column = (uint32_t)(start + length) + 1;
    bool good = is_address_text(text) && read_block(text, length, cidr, &error);
    if (!good) {
        report_line(reading, text, span, &error);
    }
    return good;
}

static void read_lines(struct reading *reading, const struct source *source, struct address_file *file) {
    size_t lines_max = 1;
    for (size_t index = 0; index < source->size; index++) {
        lines_max += source->text[index] == '\n';
    }
    struct cidr *cidrs = arena_take(findings_of(reading)->arena, lines_max * sizeof(cidrs[0]));
    const char *end = source->text + source->size;
    uint32_t line = 1;
    for (const char *at = source->text; at < end; line++) {
        const char *newline = memchr(at, '\n', (size_t)(end - at));
        const char *line_end = newline != NULL ? newline : end;
        struct span span = {.start = {.line = line}, .end = {.line = line}, .source = source};
        file->count += read_line(reading, at, (size_t)(line_end - at), span, &cidrs[file->count]);
        at = line_end + 1;
    }
    file->cidrs = cidrs;
}

/* ---- files ---- */

/* As people see it: below the main file's folder it begins as the main file's own name does. */
static const char *shown_name(const struct reading *reading, const char *path) {
    const struct source *main = reading->includes->main;
    size_t size = strlen(main->folder);
    bool below = strncmp(path, main->folder, size) == 0 && path[size] == '/';
    if (!below) {
        return path;
    }
    int before = (int)(file_last_part(main->name) - main->name);
    return arena_printf(reading->apply->kept, "%.*s%s", before, main->name, path + size + 1);
}

static int regular_file_read(const char *path, struct bytes *text) {
    struct stat status;
    if (stat(path, &status) != 0) {
        return errno;
    }
    return S_ISREG(status.st_mode) ? file_read(path, FILE_SIZE_MAX, text) : EINVAL;
}

/* NULL: it cannot be read, and that is reported. */
static const struct source *read_source(struct reading *reading, const char *path, const struct node *node) {
    struct findings *findings = findings_of(reading);
    const char *name = shown_name(reading, path);
    bytes_clear(reading->text);
    int number = regular_file_read(path, reading->text);
    if (number != 0) {
        findings_add(findings, CODE_READ, node->span, NULL, "cannot read %s: %s", name,
                     number == EINVAL ? "it is not a file" : error_name(number));
        return NULL;
    }
    if (reading->text->size > FILE_SIZE_MAX) {
        findings_add(findings, CODE_CIDR_FILE_SIZE, node->span, NULL, "%s is larger than 16 MiB", name);
        return NULL;
    }
    struct source *source = arena_take(findings->arena, sizeof(*source));
    *source = (struct source){
        .number = (uint32_t)(reading->includes->count + reading->files_count) + 1,
        .name = name,
        .folder = "",
        .text = arena_copy(findings->arena, reading->text->data, reading->text->size),
        .size = reading->text->size,
    };
    return source;
}

/* Each file is read once, whoever names it. One that cannot be read is as if it were empty. */
static const struct address_file *find_file(struct reading *reading, const char *path, const struct node *node) {
    for (size_t index = 0; index < reading->files_count; index++) {
        if (strcmp(reading->files[index].path, path) == 0) {
            return &reading->files[index];
        }
    }
    includes_watch(reading->includes, path, NULL);
    const struct source *source = read_source(reading, path, node);
    struct address_file *file = &reading->files[reading->files_count++];
    *file = (struct address_file){.path = path, .hash = HASH_START};
    if (source != NULL) {
        file->hash = hash_add(HASH_START, source->text, source->size);
        read_lines(reading, source, file);
    }
    return file;
}

/* ---- rules ---- */

static void rules_add(struct rules *rules, const struct cidr *cidrs, size_t count, bool allows) {
    for (size_t index = 0; index < count && rules->items != NULL; index++) {
        rules->items[rules->count + index] = (struct admission_rule){.cidr = cidrs[index], .allows = allows};
    }
    rules->count += count;
}

static void rules_add_texts(struct reading *reading, struct rules *rules, const struct texts *texts, bool allows) {
    for (size_t index = 0; index < texts->count; index++) {
        const char *text = texts->items[index];
        struct cidr cidr;
        struct error error;
        if (text != NULL && strncmp(text, "file:", strlen("file:")) == 0) {
            const char *path = text + strlen("file:");
            const struct address_file *file = find_file(reading, path, node_item(texts->node, index));
            rules_add(rules, file->cidrs, file->count, allows);
        } else if (text != NULL && cidr_parse(&cidr, text, &error)) {
            rules_add(rules, &cidr, 1, allows);
        }
    }
}

static struct rules rules_collect(struct reading *reading, const struct texts *allow, const struct texts *deny,
                                  struct admission_rule *items) {
    struct rules rules = {.items = items};
    rules_add_texts(reading, &rules, allow, true);
    rules_add_texts(reading, &rules, deny, false);
    return rules;
}

static const struct admission *admission_make(struct reading *reading, bool otherwise, const struct texts *allow,
                                              const struct texts *deny) {
    struct arena *scratch = findings_of(reading)->arena;
    struct arena *kept = reading->apply->kept;
    struct rules counted = rules_collect(reading, allow, deny, NULL);
    struct admission_rule *items = arena_take(scratch, counted.count * sizeof(items[0]));
    struct rules rules = rules_collect(reading, allow, deny, items);
    struct cidr_ip *turns = arena_take(scratch, 2 * rules.count * sizeof(turns[0]));
    struct admission *admission = arena_take(kept, sizeof(*admission));
    admission_init(admission, otherwise, rules.items, rules.count, turns);
    struct cidr_ip *kept_turns = arena_take(kept, admission->turns_count * sizeof(turns[0]));
    if (admission->turns_count > 0) {
        memcpy(kept_turns, turns, admission->turns_count * sizeof(turns[0]));
    }
    admission->turns = kept_turns;
    return admission;
}

static void read_trusted(struct reading *reading, struct config_proxy_protocol *proxy_protocol,
                         const struct node *node) {
    const struct texts trusted = {proxy_protocol->trusted, proxy_protocol->trusted_count, node_child(node, "trusted")};
    const struct texts nobody = {.count = 0};
    if (proxy_protocol->wanted) {
        proxy_protocol->trusted_admission = admission_make(reading, false, &trusted, &nobody);
    }
}

static void read_listener(struct reading *reading, struct config_listener *listener, const struct node_entry *entry) {
    const struct texts allow = {listener->allow, listener->allow_count, node_child(entry->value, "allow")};
    const struct texts deny = {listener->deny, listener->deny_count, node_child(entry->value, "deny")};
    read_trusted(reading, &listener->proxy_protocol, node_child(entry->value, "proxy_protocol"));
    if (allow.count + deny.count == 0) {
        return;
    }
    listener->admission = admission_make(reading, allow.count == 0, &allow, &deny);
    if (findings_of(reading)->errors_count == 0 && admission_is_closed(listener->admission)) {
        findings_add(findings_of(reading), CODE_NOBODY, entry->key->span, NULL, "listener %s lets nobody in",
                     findings_quote(findings_of(reading), listener->name));
    }
}

static void keep_files(struct reading *reading) {
    struct config *config = &reading->apply->root->config;
    struct config_address_file *files = arena_take(reading->apply->kept, reading->files_count * sizeof(files[0]));
    for (size_t index = 0; index < reading->files_count; index++) {
        files[index] =
            (struct config_address_file){.path = reading->files[index].path, .hash = reading->files[index].hash};
    }
    config->address_files = files;
    config->address_files_count = reading->files_count;
}

void admission_read(struct apply *apply, struct includes *includes, struct bytes *text, const struct node *tree) {
    struct reading reading = {.apply = apply, .includes = includes, .text = text};
    const struct node *listeners = node_child(tree, "listeners");
    const struct config *config = &apply->root->config;
    size_t files_max = 0;
    for (size_t index = 0; index < config->listeners_count; index++) {
        const struct config_listener *listener = &config->listeners[index];
        files_max += listener->allow_count + listener->deny_count + listener->proxy_protocol.trusted_count;
    }
    reading.files = arena_take(apply->findings->arena, files_max * sizeof(reading.files[0]));
    for (size_t index = 0; index < config->listeners_count; index++) {
        read_listener(&reading, &config->listeners[index], &listeners->entries[index]);
    }
    keep_files(&reading);
}
