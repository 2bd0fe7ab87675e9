#include "lua/fault.h"

#include "base/hash.h"

#include <string.h>

enum { FAULT_QUIET_US = 1000000 };

/* `file:line:`, or the first line where there is no such thing. */
static uint64_t fault_hash(const char *text) {
    size_t size = strcspn(text, "\n");
    const char *colon = memchr(text, ':', size);
    const char *end = colon != NULL ? memchr(colon + 1, ':', size - (size_t)(colon + 1 - text)) : NULL;
    uint64_t hash = hash_add(HASH_START, text, end != NULL ? (size_t)(end - text) : size);
    return hash != 0 ? hash : 1;
}

/* The entry of the place, or else the one that was told the longest ago. */
static struct fault_place *faults_find(struct faults *faults, uint64_t hash) {
    struct fault_place *oldest = &faults->places[0];
    for (size_t index = 0; index < FAULT_PLACES; index++) {
        struct fault_place *place = &faults->places[index];
        if (place->hash == hash) {
            return place;
        }
        oldest = place->at_us < oldest->at_us ? place : oldest;
    }
    return oldest;
}

bool fault_is_due(struct faults *faults, const char *text, uint64_t now_us, uint32_t *untold) {
    uint64_t hash = fault_hash(text);
    struct fault_place *place = faults_find(faults, hash);
    if (place->hash != 0 && now_us - place->at_us < FAULT_QUIET_US) {
        place->untold++;
        return false;
    }
    *untold = place->hash == hash ? place->untold : 0;
    *place = (struct fault_place){.hash = hash, .at_us = now_us};
    return true;
}

void fault_format(const char *text, char *line, size_t size) {
    static const char head[] = "\nstack traceback:";
    static const char arrow[] = " <- ";
    size_t used = 0;
    while (*text != 0 && used + sizeof(arrow) < size) {
        if (strncmp(text, head, sizeof(head) - 1) == 0) {
            text += sizeof(head) - 1;
        } else if (text[0] == '\n' && text[1] == '\t') {
            memcpy(line + used, arrow, sizeof(arrow) - 1);
            used += sizeof(arrow) - 1;
            text += 2;
        } else {
            line[used++] = *text++;
        }
    }
    line[used] = 0;
}
