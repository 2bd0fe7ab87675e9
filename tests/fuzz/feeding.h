/* Feeds one input to a parser whole and in pieces: the answers must agree. Fuzzers and unit tests share it. */
#ifndef MOONRING_TESTS_FUZZ_FEEDING_H
#define MOONRING_TESTS_FUZZ_FEEDING_H

#include "base/error.h"
#include "protocol/parse.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* How a parser is driven. Its struct begins with `const char *reason`; that of a frame begins with a struct frame. */
struct feeding {
    size_t parser_size;
    bool is_frame;     /* else a head: every call gets all bytes from its first on */
    const void *begun; /* the struct as its _begin() leaves it */
    enum parse_result (*read)(void *parser, const uint8_t *bytes, size_t size);
    uint64_t (*size)(const void *parser); /* after PARSE_DONE: where it ended */
};

struct feeding_run {
    void *parser; /* ours */
    enum parse_result result;
    size_t step;  /* bytes of a piece, the first aside */
    size_t given; /* bytes up to that result */
};

/* Gives bytes[from, to) in memory of exactly that size, so that AddressSanitizer sees a read beyond it. */
static inline enum parse_result feeding_give(const struct feeding *feeding, void *parser, const uint8_t *bytes,
                                             size_t from, size_t to) {
    from = feeding->is_frame ? from : 0;
    uint8_t *copy = malloc(to - from);
    check(copy != NULL || to == from);
    if (to > from) {
        memcpy(copy, bytes + from, to - from);
    }
    enum parse_result result = feeding->read(parser, copy, to - from);
    free(copy);
    return result;
}

/* The first piece ends at `first`, all others have `step` bytes. With `skips`, bytes that need no look are not given.
 */
static inline struct feeding_run feeding_run(const struct feeding *feeding, const uint8_t *bytes, size_t size,
                                             size_t first, size_t step, bool skips) {
    struct feeding_run run = {.parser = malloc(feeding->parser_size), .result = PARSE_MORE, .step = step};
    check(run.parser != NULL);
    memcpy(run.parser, feeding->begun, feeding->parser_size);
    size_t to = first < size ? first : size;
    do {
        struct frame *frame = run.parser;
        if (skips && frame->skip > 0) {
            uint64_t skipped = frame->skip < size - run.given ? frame->skip : size - run.given;
            frame_skip(frame, skipped);
            run.given += skipped;
            to = run.given;
        }
        run.result = feeding_give(feeding, run.parser, bytes, run.given, to);
        run.given = to;
        to = size - to > step ? to + step : size;
    } while (run.result == PARSE_MORE && run.given < size);
    return run;
}

static inline const char *feeding_reason(const struct feeding_run *run) {
    const char *reason;
    memcpy(&reason, run->parser, sizeof(reason));
    return reason != NULL ? reason : "";
}

static inline const char *feeding_word(enum parse_result result) {
    static const char *const words[] = {[PARSE_MORE] = "more", [PARSE_DONE] = "done", [PARSE_NO] = "no"};
    return words[result];
}

/* What is known of a head that was refused is open; of a frame every byte counts in the same way always. */
static inline bool feeding_same_parser(const struct feeding *feeding, const struct feeding_run *whole,
                                       const struct feeding_run *pieces) {
    bool open = whole->result == PARSE_NO && !feeding->is_frame;
    return open || memcmp(whole->parser, pieces->parser, feeding->parser_size) == 0;
}

/* Did it end in the piece that was given last, and not before? Byte by byte: with the byte given last. */
static inline bool feeding_ends_in_time(const struct feeding *feeding, const struct feeding_run *run) {
    uint64_t size = run->result == PARSE_DONE ? feeding->size(run->parser) : run->given;
    return size <= run->given && (size == run->given || run->given - size < run->step);
}

/* Finishes `pieces`. */
static inline bool feeding_compare(const struct feeding *feeding, const struct feeding_run *whole,
                                   struct feeding_run pieces, const char *how, struct error *error) {
    bool agrees = true;
    if (whole->result != pieces.result || strcmp(feeding_reason(whole), feeding_reason(&pieces)) != 0) {
        agrees = error_set(error, "%s: %s (%s) instead of %s (%s)", how, feeding_word(pieces.result),
                           feeding_reason(&pieces), feeding_word(whole->result), feeding_reason(whole));
    } else if (!feeding_same_parser(feeding, whole, &pieces)) {
        agrees =
            error_set(error, "%s: the same answer (%s), but what was read differs", how, feeding_word(whole->result));
    } else if (!feeding_ends_in_time(feeding, &pieces)) {
        agrees = error_set(error, "%s: %s only after %zu bytes", how, feeding_word(pieces.result), pieces.given);
    }
    free(pieces.parser);
    return agrees;
}

/* The answer stays when the parser is asked again, and what is refused has a reason. */
static inline bool feeding_is_steady(const struct feeding *feeding, const struct feeding_run *whole,
                                     const uint8_t *bytes, struct error *error) {
    size_t from = feeding->is_frame ? whole->given : 0;
    enum parse_result again = feeding_give(feeding, whole->parser, bytes, from, whole->given);
    if (again != whole->result) {
        return error_set(error, "asked again: %s instead of %s", feeding_word(again), feeding_word(whole->result));
    }
    bool has_reason = feeding_reason(whole)[0] != 0;
    return has_reason == (again == PARSE_NO) ||
           error_set(error, "%s: a reason too much or missing", feeding_word(again));
}

/* Whole, byte by byte (so every prefix is seen to answer `more`), skipping what needs no look, and in two pieces. */
static inline bool feeding_agrees(const struct feeding *feeding, const uint8_t *bytes, size_t size, size_t cut,
                                  struct error *error) {
    char cut_text[32];
    snprintf(cut_text, sizeof(cut_text), "cut at %zu", cut);
    struct feeding_run whole = feeding_run(feeding, bytes, size, size, size, false);
    bool agrees =
        feeding_is_steady(feeding, &whole, bytes, error) &&
        feeding_compare(feeding, &whole, feeding_run(feeding, bytes, size, 1, 1, false), "byte by byte", error) &&
        feeding_compare(feeding, &whole, feeding_run(feeding, bytes, size, cut, size, false), cut_text, error) &&
        (!feeding->is_frame ||
         feeding_compare(feeding, &whole, feeding_run(feeding, bytes, size, 1, 1, true), "skipping", error));
    free(whole.parser);
    return agrees;
}

/* For fuzzers, which end with the first input that fails. */
static inline void feeding_check(const struct feeding *feeding, const uint8_t *bytes, size_t size, size_t cut) {
    struct error error = {.text = ""};
    if (!feeding_agrees(feeding, bytes, size, cut, &error)) {
        check_failed(__FILE__, __LINE__, __func__, error.text);
    }
}

#endif
