/* Every Lua block of lua/README.md is a whole filter, and the comment in front of it is a script of what happens:
 *
 *     <!-- test
 *     filter on_error: bypass           a key of the filter in the YAML; FOLDER is where the script is
 *     file list.txt "text"              lies beside the script
 *     client sends "text"               texts have the escapes \r \n \\ \" \xHH
 *     server gets "text"                exactly that comes next
 *     server sends "text"
 *     client gets "text"
 *     client ends                       a FIN; the same of the server
 *     server sees the end               nothing but a FIN comes
 *     client is cut off                 a FIN or a RST, whatever came before
 *     log has "text"                    a line of the log, behind those found before
 *     counter name is 2
 *     refused "text"                    the only step: it is not loaded, and the message has that
 *     -->
 */
#include "tests/support/moonring.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#define MANUAL "lua/README.md"

enum { TEXT_MAX = 8192, LINE_MAX_SIZE = 1024, NAME_MAX_SIZE = 128 };

struct block {
    unsigned line; /* where its comment begins */
    struct bytes steps;
    struct bytes filter;
};

struct play {
    const struct block *block;
    struct temporary folder;
    struct moonring moonring;
    struct peer_listener listener;
    struct peer client;
    struct peer server;
    bool has_client;
    bool has_server;
    char client_name[64]; /* for failures: with the line of the manual */
    char server_name[64];
    char moonring_name[64];
};

/* --- steps -------------------------------------------------------------------------------------------------------- */

struct text {
    char bytes[TEXT_MAX]; /* and a 0 behind them */
    size_t size;
};

/* The character that an escape stands for; *escape is moved to its last one. */
static char unescaped(const char **escape) {
    switch (**escape) {
    case 'r':
        return '\r';
    case 'n':
        return '\n';
    case 'x':
        *escape += 2;
        return (char)strtoul((char[]){(*escape)[-1], (*escape)[0], 0}, NULL, 16);
    default:
        return **escape;
    }
}

/* The text between the quotes of a step. */
static const char *quoted(const struct play *play, const char *step, struct text *text) {
    const char *begin = strchr(step, '"');
    const char *end = strrchr(step, '"');
    cr_assert(begin != NULL && end > begin && end - begin < TEXT_MAX, MANUAL ":%u: no text in: %s", play->block->line,
              step);
    text->size = 0;
    for (const char *from = begin + 1; from < end; from++) {
        bool is_escape = *from == '\\';
        from += is_escape;
        text->bytes[text->size++] = is_escape ? unescaped(&from) : *from;
    }
    text->bytes[text->size] = 0;
    return text->bytes;
}

static struct peer *client_of(struct play *play) {
    if (!play->has_client) {
        peer_connect(&play->client, play->moonring.address);
        play->client.name = play->client_name;
        play->has_client = true;
    }
    return &play->client;
}

static struct peer *server_of(struct play *play) {
    if (!play->has_server) {
        client_of(play);
        peer_accept(&play->server, &play->listener);
        play->server.name = play->server_name;
        play->has_server = true;
    }
    return &play->server;
}

/* What follows the word with which a text begins; NULL: it does not. */
static const char *after(const char *text, const char *word) {
    size_t size = strlen(word);
    return strncmp(text, word, size) == 0 ? text + size : NULL;
}

static void play_peer(const struct play *play, struct peer *peer, const char *step) {
    struct text text;
    if (after(step, "sends ") != NULL) {
        quoted(play, step, &text);
        cr_assert(send(peer->fd, text.bytes, text.size, MSG_NOSIGNAL) == (ssize_t)text.size);
    } else if (after(step, "gets ") != NULL) {
        peer_expect(peer, quoted(play, step, &text));
        cr_assert(strlen(text.bytes) == text.size, MANUAL ":%u: no 0 can be expected", play->block->line);
    } else if (strcmp(step, "ends") == 0) {
        peer_end(peer);
    } else if (strcmp(step, "sees the end") == 0) {
        peer_expect_end(peer);
    } else {
        cr_assert_str_eq(step, "is cut off", MANUAL ":%u: unknown step of a peer: %s", play->block->line, step);
        peer_expect_closed(peer);
    }
}

static void play_log(struct play *play, const char *step) {
    struct text text;
    struct process *process = &play->moonring.process;
    process_wait_line(process, &process->errors, quoted(play, step, &text));
}

static void play_counter(struct play *play, const char *step) {
    char name[NAME_MAX_SIZE];
    double wanted = 0;
    cr_assert(sscanf(step, "%127s is %lf", name, &wanted) == 2, MANUAL ":%u: %s", play->block->line, step);
    moonring_wait_counter_is(&play->moonring, name, wanted);
}

static void play_step(struct play *play, const char *step) {
    const char *rest = NULL;
    if ((rest = after(step, "client ")) != NULL) {
        play_peer(play, client_of(play), rest);
    } else if ((rest = after(step, "server ")) != NULL) {
        play_peer(play, server_of(play), rest);
    } else if ((rest = after(step, "log has ")) != NULL) {
        play_log(play, rest);
    } else {
        rest = after(step, "counter ");
        cr_assert(rest != NULL, MANUAL ":%u: unknown step: %s", play->block->line, step);
        play_counter(play, rest);
    }
}

/* --- a block ------------------------------------------------------------------------------------------------------ */

/* Takes the next line off the text. False: there is none. */
static bool next_line(const char **text, char line[static LINE_MAX_SIZE]) {
    size_t size = strcspn(*text, "\n");
    cr_assert(size < LINE_MAX_SIZE, "a line is too long: %.80s", *text);
    memcpy(line, *text, size);
    line[size] = 0;
    bool found = **text != 0;
    *text += size + ((*text)[size] == '\n');
    return found;
}

/* What is there before the program starts. True: the step was of that kind. */
static bool prepare_step(struct play *play, const char *step, struct bytes *keys) {
    static const char mark[] = "FOLDER";
    char name[NAME_MAX_SIZE];
    struct text text;
    const char *key = after(step, "filter ");
    if (key != NULL) {
        const char *found = strstr(key, mark);
        int size = found != NULL ? (int)(found - key) : (int)strlen(key);
        bytes_printf(keys, ", %.*s", size, key);
        if (found != NULL) {
            bytes_printf(keys, "%s%s", play->folder.path, found + strlen(mark));
        }
        return true;
    }
    if (sscanf(step, "file %127s \"", name) == 1) {
        temporary_write(&play->folder, name, "%s", quoted(play, step, &text));
        return true;
    }
    return false;
}

static void play_open(struct play *play, const struct block *block, struct bytes *rest) {
    char line[LINE_MAX_SIZE];
    struct bytes keys;
    *play = (struct play){.block = block};
    bytes_init(&keys);
    snprintf(play->client_name, sizeof(play->client_name), MANUAL ":%u: client", block->line);
    snprintf(play->server_name, sizeof(play->server_name), MANUAL ":%u: server", block->line);
    snprintf(play->moonring_name, sizeof(play->moonring_name), MANUAL ":%u: moonring", block->line);
    temporary_create(&play->folder);
    temporary_write(&play->folder, "filter.lua", "%s", block->filter.data);
    for (const char *step = block->steps.data; next_line(&step, line);) {
        if (!prepare_step(play, line, &keys)) {
            bytes_printf(rest, "%s\n", line);
        }
    }
    peer_listen(&play->listener, "127.0.0.1:0");
    moonring_launch(&play->moonring, NULL,
                    "listeners:\n"
                    "  manual: {bind: '127.0.0.1:0', upstream: web, filters: [{lua: %s/filter.lua%s}]}\n"
                    "upstreams: {web: {servers: ['%s']}}\n"
                    "process: {workers: 1}\n"
                    "log: {error: {level: debug}}\n",
                    play->folder.path, keys.data, play->listener.address);
    play->moonring.process.name = play->moonring_name;
    bytes_finish(&keys);
}

static void play_refusal(struct play *play, const char *step) {
    struct text text;
    moonring_expect_refusal(&play->moonring, 2, quoted(play, step, &text));
    peer_listener_close(&play->listener);
}

static void play_run(struct play *play, const char *steps) {
    char line[LINE_MAX_SIZE];
    moonring_wait_ready(&play->moonring);
    while (next_line(&steps, line)) {
        play_step(play, line);
    }
    if (play->has_client) {
        peer_close(&play->client);
    }
    if (play->has_server) {
        peer_close(&play->server);
    }
    peer_listener_close(&play->listener); /* with whoever was not accepted */
    moonring_stop(&play->moonring);
}

static void block_play(const struct block *block) {
    struct play play;
    struct bytes steps;
    bytes_init(&steps);
    play_open(&play, block, &steps);
    if (after(steps.data, "refused ") != NULL) {
        play_refusal(&play, steps.data);
    } else {
        play_run(&play, steps.data);
    }
    temporary_remove(&play.folder);
    bytes_finish(&steps);
}

/* --- the page ----------------------------------------------------------------------------------------------------- */

struct page {
    FILE *file;
    unsigned line_number;
    char line[LINE_MAX_SIZE];
};

static bool page_next(struct page *page) {
    if (fgets(page->line, sizeof(page->line), page->file) == NULL) {
        return false;
    }
    page->line_number++;
    page->line[strcspn(page->line, "\n")] = 0;
    return true;
}

/* The lines up to the one that is `end`. */
static void page_take(struct page *page, const char *end, struct bytes *text) {
    unsigned begin = page->line_number;
    bytes_clear(text);
    while (page_next(page) && strcmp(page->line, end) != 0) {
        bytes_printf(text, "%s\n", page->line);
    }
    cr_assert_str_eq(page->line, end, MANUAL ":%u: what begins here has no end", begin);
}

/* The next block with its steps. False: there is none. */
static bool page_find(struct page *page, struct block *block) {
    bool has_steps = false;
    while (page_next(page)) {
        if (strcmp(page->line, "<!-- test") == 0) {
            block->line = page->line_number;
            page_take(page, "-->", &block->steps);
            has_steps = true;
        } else if (strcmp(page->line, "```lua") == 0) {
            cr_assert(has_steps, MANUAL ":%u: no test stands right in front of this block", page->line_number);
            page_take(page, "```", &block->filter);
            return true;
        } else {
            cr_assert(!has_steps, MANUAL ":%u: no block follows the test", block->line);
        }
    }
    return false;
}

Test(example_manual, says_what_happens, .timeout = 300) {
    struct page page = {.file = fopen(MANUAL, "re")};
    struct block block = {.line = 0};
    size_t count = 0;
    cr_assert(page.file != NULL);
    bytes_init(&block.steps);
    bytes_init(&block.filter);
    for (; page_find(&page, &block); count++) {
        block_play(&block);
    }
    fclose(page.file);
    bytes_finish(&block.steps);
    bytes_finish(&block.filter);
    cr_assert(count >= 30, "only %zu blocks were found", count);
}
