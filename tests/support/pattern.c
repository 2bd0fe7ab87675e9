#include "tests/support/pattern.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

enum { WORD_SIZE = sizeof(uint64_t) };

/* The mixing steps of splitmix64: each bit of the input changes about half of the output. */
static uint64_t pattern_word(uint64_t stream, uint64_t index) {
    uint64_t word = stream * 0xd1342543de82ef95U + index * 0x9e3779b97f4a7c15U;
    word = (word ^ (word >> 30)) * 0xbf58476d1ce4e5b9U;
    word = (word ^ (word >> 27)) * 0x94d049bb133111ebU;
    return word ^ (word >> 31);
}

void pattern_fill(uint64_t stream, uint64_t offset, char *bytes, size_t size) {
    for (size_t done = 0; done < size;) {
        uint64_t word = pattern_word(stream, (offset + done) / WORD_SIZE);
        size_t skip = (offset + done) % WORD_SIZE;
        size_t part = size - done < WORD_SIZE - skip ? size - done : WORD_SIZE - skip;
        memcpy(bytes + done, (const char *)&word + skip, part);
        done += part;
    }
}

size_t pattern_compare(uint64_t stream, uint64_t offset, const char *bytes, size_t size) {
    for (size_t done = 0; done < size;) {
        char expected[4096];
        size_t part = size - done < sizeof(expected) ? size - done : sizeof(expected);
        pattern_fill(stream, offset + done, expected, part);
        if (memcmp(bytes + done, expected, part) != 0) {
            while (bytes[done] == expected[done % sizeof(expected)]) {
                done++;
            }
            return done;
        }
        done += part;
    }
    return size;
}

void pattern_write_file(uint64_t stream, const char *path, size_t size) {
    FILE *file = fopen(path, "we");
    cr_assert(file != NULL, "cannot make %s: %m", path);
    char piece[65536];
    for (size_t offset = 0; offset < size;) {
        size_t part = size - offset < sizeof(piece) ? size - offset : sizeof(piece);
        pattern_fill(stream, offset, piece, part);
        cr_assert(fwrite(piece, 1, part, file) == part, "cannot write %s: %m", path);
        offset += part;
    }
    cr_assert(fclose(file) == 0, "cannot write %s: %m", path);
}
