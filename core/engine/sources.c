#include "engine/sources.h"

#include "base/check.h"

#include <pthread.h>
#include <stdatomic.h>
#include <sys/mman.h>

enum {
    SHARDS = 64,
    SHARD_SIZE = SOURCES_MAX / SHARDS,
    SWEEP = 2, /* a client looks at so many sources that may be forgotten: more than it adds */
};

#define HOUR_NS UINT64_C(3600000000000)

struct source_key {
    uint64_t high;
    uint64_t low;
};

/* Sources are named by their index in the shard, from 1 on; 0 is none. */
struct source {
    struct source_key key;
    uint64_t due_ns; /* when it would have begun its last session at a steady pace: far ahead means that it hurries */
    uint32_t active; /* its sessions */
    uint32_t next;   /* in its bucket, or among the free */
    uint32_t idle_next;
    uint32_t idle_previous;
};

struct shard {
    _Alignas(64) pthread_mutex_t lock;
    uint32_t unused;     /* sources from this index on were never used: their memory is not touched before it has to */
    uint32_t free;       /* the first of those that are used no more */
    uint32_t idle_first; /* of those without a session, the longest first */
    uint32_t idle_last;
    uint32_t *buckets;
    struct source *sources;
};

struct sources {
    uint64_t seed;
    _Atomic uint32_t count;
    _Atomic uint64_t refused;
    _Atomic uint64_t uncounted;
    struct shard shards[SHARDS];
    uint32_t buckets[SHARDS][SHARD_SIZE]; /* from here on memory is touched as sources come */
    struct source places[SHARDS][SHARD_SIZE + 1];
};

struct sources *sources_create(uint64_t seed) {
    /* From the kernel itself: malloc may have memory that is not zero, and calloc would write all of it. */
    void *memory = mmap(NULL, sizeof(struct sources), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) {
        return NULL;
    }
    struct sources *sources = memory;
    sources->seed = seed;
    for (size_t i = 0; i < SHARDS; i++) {
        struct shard *shard = &sources->shards[i];
        check(pthread_mutex_init(&shard->lock, NULL) == 0);
        shard->unused = 1;
        shard->buckets = sources->buckets[i];
        shard->sources = sources->places[i];
    }
    return sources;
}

static void shard_finish(struct shard *shard) {
    for (uint32_t index = 1; index < shard->unused; index++) {
        check(shard->sources[index].active == 0);
    }
    pthread_mutex_destroy(&shard->lock);
}

void sources_destroy(struct sources *sources) {
    if (sources == NULL) {
        return;
    }
    for (size_t i = 0; i < SHARDS; i++) {
        shard_finish(&sources->shards[i]);
    }
    munmap(sources, sizeof *sources);
}

/* --- keys ------------------------------------------------------------------------------------------------------- */

/* The first `bits` of 64. */
static uint64_t first_bits(uint32_t bits) {
    return bits == 0 ? 0 : ~UINT64_C(0) << (64 - bits);
}

/* IPv4 addresses stand where IPv6 has no clients: in ::ffff:0:0/96. */
static struct source_key key_of(const struct config_source_limits *limits, const struct cidr_ip *ip) {
    if (!ip->v6) {
        uint64_t masked = ip->low & first_bits(32 + limits->prefix_v4);
        return (struct source_key){.low = UINT64_C(0xffff) << 32 | masked};
    }
    uint32_t bits = limits->prefix_v6;
    return (struct source_key){.high = ip->high & first_bits(bits < 64 ? bits : 64),
                               .low = ip->low & first_bits(bits < 64 ? 0 : bits - 64)};
}

static bool key_equal(const struct source_key *a, const struct source_key *b) {
    return a->high == b->high && a->low == b->low;
}

static uint64_t mix(uint64_t word) {
    word = (word ^ word >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    word = (word ^ word >> 27) * UINT64_C(0x94d049bb133111eb);
    return word ^ word >> 31;
}

/* With a seed, so that nobody can choose addresses that all fall into one bucket. */
static uint64_t key_hash(const struct source_key *key, uint64_t seed) {
    return mix(mix(key->high ^ seed) ^ key->low);
}

static uint32_t *bucket_of(struct shard *shard, uint64_t hash) {
    return &shard->buckets[hash / SHARDS % SHARD_SIZE];
}

/* --- a shard ---------------------------------------------------------------------------------------------------- */

static void shard_add_idle(struct shard *shard, uint32_t index) {
    struct source *source = &shard->sources[index];
    source->idle_next = 0;
    source->idle_previous = shard->idle_last;
    if (shard->idle_last != 0) {
        shard->sources[shard->idle_last].idle_next = index;
    } else {
        shard->idle_first = index;
    }
    shard->idle_last = index;
}

static void shard_remove_idle(struct shard *shard, uint32_t index) {
    const struct source *source = &shard->sources[index];
    if (source->idle_previous != 0) {
        shard->sources[source->idle_previous].idle_next = source->idle_next;
    } else {
        shard->idle_first = source->idle_next;
    }
    if (source->idle_next != 0) {
        shard->sources[source->idle_next].idle_previous = source->idle_previous;
    } else {
        shard->idle_last = source->idle_previous;
    }
}

static uint32_t shard_find(struct shard *shard, const struct source_key *key, uint64_t hash) {
    uint32_t index = *bucket_of(shard, hash);
    while (index != 0 && !key_equal(&shard->sources[index].key, key)) {
        index = shard->sources[index].next;
    }
    return index;
}

/* An idle one. */
static void shard_forget(struct sources *sources, struct shard *shard, uint32_t index) {
    struct source *source = &shard->sources[index];
    uint32_t *link = bucket_of(shard, key_hash(&source->key, sources->seed));
    while (*link != index) {
        link = &shard->sources[*link].next;
    }
    *link = source->next;
    shard_remove_idle(shard, index);
    source->next = shard->free;
    shard->free = index;
    atomic_fetch_sub_explicit(&sources->count, 1, memory_order_relaxed);
}

/* 0: every place is taken by a source that has a session. */
static uint32_t shard_take(struct sources *sources, struct shard *shard) {
    if (shard->free == 0 && shard->unused <= SHARD_SIZE) {
        return shard->unused++;
    }
    if (shard->free == 0 && shard->idle_first != 0) {
        shard_forget(sources, shard, shard->idle_first);
    }
    uint32_t index = shard->free;
    if (index != 0) {
        shard->free = shard->sources[index].next;
    }
    return index;
}

/* Without a session yet. */
static uint32_t shard_add(struct sources *sources, struct shard *shard, const struct source_key *key, uint64_t hash) {
    uint32_t index = shard_take(sources, shard);
    if (index == 0) {
        return 0;
    }
    uint32_t *bucket = bucket_of(shard, hash);
    shard->sources[index] = (struct source){.key = *key, .next = *bucket};
    *bucket = index;
    shard_add_idle(shard, index);
    atomic_fetch_add_explicit(&sources->count, 1, memory_order_relaxed);
    return index;
}

static void shard_sweep(struct sources *sources, struct shard *shard, uint64_t now_ns) {
    for (int i = 0; i < SWEEP && shard->idle_first != 0; i++) {
        if (shard->sources[shard->idle_first].due_ns <= now_ns) {
            shard_forget(sources, shard, shard->idle_first);
        }
    }
}

/* Its last session is over: unless it was in a hurry there is nothing to remember. */
static void shard_leave_idle(struct sources *sources, struct shard *shard, uint32_t index, uint64_t now_ns) {
    shard_add_idle(shard, index);
    if (shard->sources[index].due_ns <= now_ns) {
        shard_forget(sources, shard, index);
    }
    shard_sweep(sources, shard, now_ns);
}

/* --- coming and going ------------------------------------------------------------------------------------------- */

/* So many sessions at once, when none was begun for long. */
static uint64_t burst_of(const struct config_source_limits *limits) {
    uint64_t a_second_s = limits->rate_per_hour / 3600;
    return limits->burst != 0 ? limits->burst : a_second_s != 0 ? a_second_s : 1;
}

/* Each session takes its time; a source may be ahead of the clock by the time of a burst. */
static bool source_is_in_time(struct source *source, const struct config_source_limits *limits, uint64_t now_ns) {
    if (limits->rate_per_hour == 0) {
        return true;
    }
    uint64_t each_ns = HOUR_NS / limits->rate_per_hour;
    uint64_t due_ns = (source->due_ns > now_ns ? source->due_ns : now_ns) + each_ns;
    if (due_ns - now_ns > each_ns * burst_of(limits)) {
        return false;
    }
    source->due_ns = due_ns;
    return true;
}

static bool source_has_room(const struct source *source, const struct config_source_limits *limits) {
    return limits->connections_max == 0 || source->active < limits->connections_max;
}

/* 0: refused. */
static uint32_t shard_enter(struct shard *shard, uint32_t index, const struct config_source_limits *limits,
                            uint64_t now_ns) {
    struct source *source = &shard->sources[index];
    if (!source_has_room(source, limits) || !source_is_in_time(source, limits, now_ns)) {
        return 0;
    }
    if (source->active++ == 0) {
        shard_remove_idle(shard, index);
    }
    return index;
}

bool sources_enter(struct sources *sources, const struct config_source_limits *limits, const struct cidr_ip *ip,
                   uint64_t now_us, uint32_t *source) {
    struct source_key key = key_of(limits, ip);
    uint64_t hash = key_hash(&key, sources->seed);
    uint32_t number = (uint32_t)(hash % SHARDS);
    struct shard *shard = &sources->shards[number];
    uint64_t now_ns = now_us * 1000;
    uint32_t entered = 0;
    pthread_mutex_lock(&shard->lock);
    uint32_t index = shard_find(shard, &key, hash);
    index = index != 0 ? index : shard_add(sources, shard, &key, hash);
    if (index != 0) {
        entered = shard_enter(shard, index, limits, now_ns);
        shard_sweep(sources, shard, now_ns);
    }
    pthread_mutex_unlock(&shard->lock);
    if (index == 0) {
        atomic_fetch_add_explicit(&sources->uncounted, 1, memory_order_relaxed);
    } else if (entered == 0) {
        atomic_fetch_add_explicit(&sources->refused, 1, memory_order_relaxed);
    }
    *source = entered == 0 ? SOURCE_NONE : number * (SHARD_SIZE + 1) + entered;
    return index == 0 || entered != 0;
}

void sources_leave(struct sources *sources, uint32_t source, uint64_t now_us) {
    struct shard *shard = &sources->shards[source / (SHARD_SIZE + 1)];
    uint32_t index = source % (SHARD_SIZE + 1);
    pthread_mutex_lock(&shard->lock);
    check(shard->sources[index].active > 0);
    if (--shard->sources[index].active == 0) {
        shard_leave_idle(sources, shard, index, now_us * 1000);
    }
    pthread_mutex_unlock(&shard->lock);
}

/* --- for people ------------------------------------------------------------------------------------------------- */

uint32_t sources_count(const struct sources *sources) {
    return atomic_load_explicit(&sources->count, memory_order_relaxed);
}

uint64_t sources_refused(const struct sources *sources) {
    return atomic_load_explicit(&sources->refused, memory_order_relaxed);
}

uint64_t sources_uncounted(const struct sources *sources) {
    return atomic_load_explicit(&sources->uncounted, memory_order_relaxed);
}
