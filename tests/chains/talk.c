#include "tests/chains/talk.h"

#include "tests/simulate/stream.h"

#include <errno.h>

enum { TURNS_MAX = 400 * 1000, WAIT_US = 1000, READ_MAX = 64 * 1024 };

static void speaker_init(struct speaker *speaker, struct stream *stream, const struct bytes *says) {
    *speaker = (struct speaker){.stream = stream, .says = says};
    bytes_init(&speaker->pieces);
    bytes_init(&speaker->heard);
}

/* Whether anything moved. */
static bool speaker_say(struct speaker *speaker, struct talk *talk) {
    size_t left = speaker->says->size - speaker->said;
    if (speaker->is_silent || random_chance(&talk->random, 300)) {
        return false;
    }
    if (left == 0 && speaker->waits && !speaker->has_heard_end) {
        return false;
    }
    if (left == 0) {
        stream_shutdown(speaker->stream);
        speaker->is_silent = true;
        return true;
    }
    size_t piece = random_scaled(&talk->random, talk->piece_max);
    piece = piece < left ? piece : left;
    int64_t written = stream_write(speaker->stream, speaker->says->data + speaker->said, piece);
    if (written > 0) {
        speaker->said += (size_t)written;
        bytes_printf(&speaker->pieces, " %u", (unsigned)written);
    } else {
        speaker->is_silent = written != -EAGAIN; /* who is cut off says no more */
    }
    return written > 0;
}

static bool speaker_hear(struct speaker *speaker, struct talk *talk) {
    static char bytes[READ_MAX];
    if (speaker->has_heard_end || random_chance(&talk->random, 200)) {
        return false;
    }
    int64_t size = stream_read(speaker->stream, bytes, random_scaled(&talk->random, sizeof(bytes)));
    if (size > 0) {
        bytes_append(&speaker->heard, bytes, (size_t)size);
    } else if (size != -EAGAIN) {
        speaker->has_heard_end = true;
        speaker->error = (int)-size;
    }
    return size != -EAGAIN;
}

static bool talk_step(struct talk *talk) {
    bool moved = false;
    for (enum direction direction = FROM_CLIENT; direction <= FROM_SERVER; direction++) {
        moved |= speaker_say(&talk->speakers[direction], talk);
        moved |= speaker_hear(&talk->speakers[direction], talk);
    }
    return moved;
}

static void talk_turn(struct talk *talk, bool moved) {
    arena_wait(talk->arena, moved ? 0 : WAIT_US);
    talk->turns++;
}

bool talk_run(struct talk *talk, struct arena *arena, const struct round *round) {
    struct pair pair;
    const struct engine *engine = &arena->worker.engine;
    *talk = (struct talk){.arena = arena};
    random_init(&talk->random, round->pace);
    talk->piece_max = (uint32_t)random_scaled(&talk->random, 64 * 1024);
    pair_open(arena, &pair, ARENA_FILTERED);
    struct speaker *client = &talk->speakers[FROM_CLIENT];
    struct speaker *server = &talk->speakers[FROM_SERVER];
    speaker_init(client, pair.client, &round->said[FROM_CLIENT]);
    speaker_init(server, pair.server, &round->said[FROM_SERVER]);
    client->waits = round->waits[FROM_CLIENT];
    server->waits = round->waits[FROM_SERVER];
    while (!(client->has_heard_end && server->has_heard_end) && talk->turns < TURNS_MAX) {
        bool moved = talk_step(talk);
        if (!moved || random_chance(&talk->random, 700)) {
            talk_turn(talk, moved);
        }
    }
    bool has_ended = talk->turns < TURNS_MAX;
    pair_close(&pair);
    while (engine->sessions_count > 0 && talk->turns < 2 * TURNS_MAX) {
        talk_turn(talk, false);
    }
    return has_ended && engine->sessions_count == 0;
}

void talk_finish(struct talk *talk) {
    for (enum direction direction = FROM_CLIENT; direction <= FROM_SERVER; direction++) {
        bytes_finish(&talk->speakers[direction].pieces);
        bytes_finish(&talk->speakers[direction].heard);
    }
}
