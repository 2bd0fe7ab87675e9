#include "program/crew.h"

#include "base/log.h"
#include "engine/ring.h"
#include "program/privileges.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* The members there are; a member may be taken away within. */
#define crew_for_each(member, crew)                                                                                    \
    for (uint32_t member##_place = 0; member##_place < (crew)->places_count; member##_place++)                         \
        for (struct crew_member *member = (crew)->places[member##_place].member; member != NULL; member = NULL)

static void semaphore_wait(sem_t *semaphore) {
    while (sem_wait(semaphore) < 0 && errno == EINTR) {
    }
}

/* Workers look at the places with one lock, who writes metrics with the other: neither waits for the other one. */
static void crew_lock_places(struct crew *crew) {
    pthread_mutex_lock(crew->options.view_lock);
    pthread_mutex_lock(&crew->lock);
}

static void crew_unlock_places(struct crew *crew) {
    pthread_mutex_unlock(&crew->lock);
    pthread_mutex_unlock(crew->options.view_lock);
}

static void member_answer(struct crew_member *member) {
    atomic_store(&member->busy, false);
    sem_post(&member->crew->answers);
}

/* --- what workers call ------------------------------------------------------------------------------------------ */

static void crew_room(void *argument, struct worker *worker) {
    struct crew *crew = argument;
    pthread_mutex_lock(&crew->lock);
    crew_for_each(member, crew) {
        if (&member->worker != worker) {
            worker_post_resume(&member->worker);
        }
    }
    pthread_mutex_unlock(&crew->lock);
}

/* The kernel wakes one of several that accept on a socket. If that one was told to leave meanwhile, its accept is
 * cancelled before it takes the client, and the others do not know of him. */
static void crew_socket_done(void *argument, int fd) {
    struct crew *crew = argument;
    if (!sockets_leave(crew->options.sockets, fd)) {
        return;
    }
    pthread_mutex_lock(&crew->lock);
    crew_for_each(member, crew) {
        worker_post_look(&member->worker);
    }
    pthread_mutex_unlock(&crew->lock);
}

static void crew_filters_over(void *argument, struct worker *worker, struct epoch *epoch) {
    struct crew *crew = argument;
    const struct crew_member *member = container_of(worker, struct crew_member, worker);
    generation_end_scripts(epoch->generation, member->number);
    kernel_event_signal(crew->event_fd);
}

static void crew_epoch_over(void *argument, struct worker *worker, struct epoch *epoch) {
    struct crew *crew = argument;
    struct crew_member *member = container_of(worker, struct crew_member, worker);
    generation_leave(epoch->generation, member->number);
    atomic_fetch_sub(&member->epochs, 1);
    kernel_event_signal(crew->event_fd);
}

static void crew_adopted(void *argument, struct worker *worker) {
    (void)argument;
    member_answer(container_of(worker, struct crew_member, worker));
}

static void crew_suspected(void *argument) {
    struct crew *crew = argument;
    if (!atomic_exchange(&crew->suspected, true)) {
        kernel_event_signal(crew->event_fd);
    }
}

static void crew_stopped(void *argument, struct worker *worker) {
    struct crew *crew = argument;
    struct crew_member *member = container_of(worker, struct crew_member, worker);
    atomic_store(&member->ended, true);
    sem_post(&crew->answers); /* to a task that came too late */
    kernel_event_signal(crew->event_fd);
}

/* --- the workers' threads --------------------------------------------------------------------------------------- */

static bool member_init_worker(struct crew_member *member) {
    struct crew *crew = member->crew;
    const struct worker_options options = {.number = member->number,
                                           .session_ids = &member->crew->session_ids,
                                           .io = &crew->options.io,
                                           .features = &crew->options.features,
                                           .room = crew_room,
                                           .socket_done = crew_socket_done,
                                           .filters_over = crew_filters_over,
                                           .epoch_over = crew_epoch_over,
                                           .adopted = crew_adopted,
                                           .suspected = crew_suspected,
                                           .stopped = crew_stopped,
                                           .argument = crew};
    return worker_init(&member->worker, &options, &member->error);
}

/* On its own thread: a ring belongs to the thread that made it. */
static bool member_make(struct crew_member *member) {
    const struct crew_options *options = &member->crew->options;
    if ((options->drop_rights && !privileges_drop_thread(&member->error)) ||
        !watch_join(&member->watch, options->watchdog, &member->error)) {
        return false;
    }
    if (!member_init_worker(member)) {
        watch_leave(&member->watch);
        return false;
    }
    return true;
}

/* The next filters begin before the first session can enter them. crew_adopted is the answer. */
static void member_adopt(struct crew_member *member) {
    struct generation *before = member->generation;
    struct generation *next = member->next;
    member->generation = next;
    if (next != NULL) {
        generation_begin(next, &member->worker, &member->watch);
    }
    if (before != NULL) {
        generation_retire(before, next, member->number);
    }
    struct epoch *epoch = next == NULL ? NULL : next->parts[member->number].epoch;
    worker_adopt(&member->worker, epoch, member->sockets, member->sockets_count);
}

static void member_work(struct crew_member *member) {
    if (member->dismissed) {
        worker_stop(&member->worker);
        worker_run(&member->worker);
        return;
    }
    member_adopt(member);
    worker_run(&member->worker);
    struct generation *generation = member->generation;
    if (generation != NULL && generation->parts[member->number].scripts != NULL) {
        generation_end_scripts(generation, member->number);
    }
}

static void member_name(const struct crew_member *member) {
    char name[16];
    snprintf(name, sizeof name, "worker %u", member->number % 100000000);
    pthread_setname_np(pthread_self(), name);
}

static void *member_run(void *argument) {
    struct crew_member *member = argument;
    member_name(member);
    member->made = member_make(member);
    sem_post(&member->crew->ready);
    semaphore_wait(&member->go);
    if (member->made) {
        member_work(member);
        watch_leave(&member->watch);
    }
    return NULL;
}

/* --- members ---------------------------------------------------------------------------------------------------- */

static void member_forget_sockets(struct crew_member *member) {
    free(member->sockets);
    member->sockets = NULL;
    member->sockets_count = 0;
}

static void member_unmake_acceptors(struct crew_member *member) {
    for (size_t i = 0; i < member->sockets_count; i++) {
        acceptor_unmake(member->sockets[i].acceptor);
    }
}

/* Its thread has ended, and nobody posts to it any more. */
static void member_free(struct crew_member *member) {
    if (member->made) {
        worker_finish(&member->worker);
    }
    portion_finish(&member->portion);
    bytes_finish(&member->filters);
    sem_destroy(&member->go);
    free(member->sockets);
    free(member);
}

static struct crew_member *member_start(struct crew *crew, uint32_t number, struct error *error) {
    struct crew_member *member = calloc(1, sizeof *member);
    if (member == NULL) {
        error_set(error, "no memory for worker %u", number);
        return NULL;
    }
    member->crew = crew;
    member->number = number;
    check(sem_init(&member->go, 0, 0) == 0);
    portion_init(&member->portion);
    bytes_init(&member->filters);
    int failure = pthread_create(&member->thread, NULL, member_run, member);
    if (failure != 0) {
        error_set(error, "cannot start a thread for worker %u: %s", number, error_name(failure));
        member_free(member);
        return NULL;
    }
    semaphore_wait(&crew->ready);
    return member;
}

/* A new member, which waits for its `go`. */
static bool crew_recruit(struct crew *crew, uint32_t number, struct error *error) {
    struct crew_place *place = &crew->places[number];
    struct crew_member *member = member_start(crew, number, error);
    if (member == NULL) {
        return false;
    }
    if (!member->made) {
        *error = member->error;
        sem_post(&member->go);
        pthread_join(member->thread, NULL);
        member_free(member);
        return false;
    }
    crew_lock_places(crew);
    place->member = member;
    crew_unlock_places(crew);
    return true;
}

/* Takes away a member that ends, or has ended. Its numbers stay. */
static void crew_part_with(struct crew *crew, struct crew_place *place) {
    struct crew_member *member = place->member;
    pthread_join(member->thread, NULL);
    crew_lock_places(crew);
    place->member = NULL;
    worker_numbers_add(&place->before, &member->worker);
    crew_unlock_places(crew);
    member_free(member);
}

static bool crew_make_places(struct crew *crew, uint32_t count, struct error *error) {
    if (count <= crew->places_count) {
        return true;
    }
    crew_lock_places(crew);
    struct crew_place *places = reallocarray(crew->places, count, sizeof *places);
    if (places != NULL) {
        crew->places = places;
        for (; crew->places_count < count; crew->places_count++) {
            places[crew->places_count] = (struct crew_place){.member = NULL};
        }
    }
    crew_unlock_places(crew);
    return places != NULL || error_set(error, "no memory for %u workers", count);
}

bool crew_init(struct crew *crew, const struct crew_options *options, struct error *error) {
    *crew = (struct crew){.options = *options, .event_fd = kernel_event_open()};
    if (crew->event_fd < 0) {
        return error_set(error, "no descriptor is left: raise `ulimit -n` (systemd: LimitNOFILE=)");
    }
    check(pthread_mutex_init(&crew->lock, NULL) == 0);
    check(sem_init(&crew->ready, 0, 0) == 0 && sem_init(&crew->answers, 0, 0) == 0);
    crew->is_open = true;
    return true;
}

void crew_finish(struct crew *crew) {
    crew_for_each(member, crew) {
        pthread_join(member->thread, NULL);
    }
    /* Only now: until the last one had ended, others posted into its mailbox. */
    crew_for_each(member, crew) {
        member_free(member);
    }
    free(crew->places);
    if (crew->is_open) {
        pthread_mutex_destroy(&crew->lock);
        sem_destroy(&crew->ready);
        sem_destroy(&crew->answers);
        kernel_close(crew->event_fd);
    }
}

/* --- messages --------------------------------------------------------------------------------------------------- */

static void member_post(struct crew_member *member, struct message *message,
                        void (*run)(struct worker *worker, struct message *message)) {
    message->run = run;
    worker_post(&member->worker, message);
}

static void message_stop(struct worker *worker, struct message *message) {
    (void)message;
    worker_stop(worker);
}

static void message_close(struct worker *worker, struct message *message) {
    (void)message;
    worker_close_sessions(worker);
}

static void member_dismiss(struct crew_member *member) {
    if (!member->dismissed) {
        member->dismissed = true;
        member_post(member, &member->stop_message, message_stop);
    }
}

void crew_stop(struct crew *crew) {
    crew_for_each(member, crew) {
        member_dismiss(member);
    }
}

void crew_close_sessions(struct crew *crew) {
    crew_for_each(member, crew) {
        member_post(member, &member->close_message, message_close);
    }
}

void crew_mind_servers(struct crew *crew) {
    crew_for_each(member, crew) {
        worker_post_servers(&member->worker);
    }
}

bool crew_has_ended(const struct crew *crew) {
    crew_for_each(member, crew) {
        if (!atomic_load(&member->ended)) {
            return false;
        }
    }
    return true;
}

void crew_tend(struct crew *crew) {
    for (uint32_t number = crew->workers; number < crew->places_count; number++) {
        struct crew_place *place = &crew->places[number];
        if (place->member == NULL) {
            continue;
        }
        if (atomic_load(&place->member->ended)) {
            crew_part_with(crew, place);
            log_info("worker %u has ended", number);
        } else if (atomic_load(&place->member->epochs) == 0) {
            member_dismiss(place->member);
        }
    }
}

/* --- tasks ------------------------------------------------------------------------------------------------------ */

static void message_task(struct worker *worker, struct message *message) {
    struct crew_member *member = container_of(message, struct crew_member, task_message);
    (void)worker;
    if (member->task(member, member->argument)) {
        member_answer(member);
    }
}

static void message_pulse(struct worker *worker, struct message *message) {
    struct crew_member *member = container_of(message, struct crew_member, pulse_message);
    (void)worker;
    atomic_store(&member->pulse_awaited, false);
}

/* An idle worker is woken by the question. */
bool crew_has_pulse(struct crew *crew, uint32_t *number) {
    bool all = true;
    crew_for_each(member, crew) {
        if (!member->working || member->dismissed) {
            continue;
        }
        if (atomic_exchange(&member->pulse_awaited, true)) {
            *number = member->number;
            all = false;
        } else {
            member_post(member, &member->pulse_message, message_pulse);
        }
    }
    return all;
}

/* One that has ended before its task came never does it. */
static bool member_is_busy(const struct crew_member *member) {
    return atomic_load(&member->busy) && !atomic_load(&member->ended);
}

static const struct crew_member *crew_busy_member(const struct crew *crew) {
    crew_for_each(member, crew) {
        if (member_is_busy(member)) {
            return member;
        }
    }
    return NULL;
}

static struct timespec time_after_ms(uint32_t wait_ms) {
    uint64_t at_ns = kernel_now_ns() + (uint64_t)wait_ms * 1000000;
    return (struct timespec){.tv_sec = (time_t)(at_ns / 1000000000), .tv_nsec = (long)(at_ns % 1000000000)};
}

/* An answer may also be a late one to an earlier question. False: the time is over. */
static bool crew_wait_answer(struct crew *crew, const struct timespec *until) {
    int result;
    do {
        result = sem_clockwait(&crew->answers, CLOCK_MONOTONIC, until);
    } while (result < 0 && errno == EINTR);
    return result == 0;
}

/* Who is still busy with an earlier task is not given another. */
static void crew_give(struct crew *crew, crew_task_fn *task, const void *argument) {
    crew_for_each(member, crew) {
        if (member->working && !member->dismissed && !atomic_exchange(&member->busy, true)) {
            member->task = task;
            member->argument = argument;
            member_post(member, &member->task_message, message_task);
        }
    }
}

static void crew_wait_for_all(struct crew *crew) {
    while (crew_busy_member(crew) != NULL) {
        semaphore_wait(&crew->answers);
    }
}

static bool crew_wait_for_all_at_most(struct crew *crew, uint32_t wait_ms, struct error *error) {
    const struct timespec until = time_after_ms(wait_ms);
    const struct crew_member *busy = crew_busy_member(crew);
    while (busy != NULL && crew_wait_answer(crew, &until)) {
        busy = crew_busy_member(crew);
    }
    return busy == NULL || error_set(error, "worker %u did not answer within %u ms", busy->number, wait_ms);
}

static bool task_nothing(struct crew_member *member, const void *argument) {
    (void)member;
    (void)argument;
    return true;
}

bool crew_answers(struct crew *crew, uint32_t wait_ms, struct error *error) {
    crew_give(crew, task_nothing, NULL);
    return crew_wait_for_all_at_most(crew, wait_ms, error);
}

/* Into the member's own: it may be late. */
static bool task_describe_filters(struct crew_member *member, const void *argument) {
    (void)argument;
    bytes_clear(&member->filters);
    if (member->generation != NULL) {
        generation_describe_filters(member->generation, member->number, &member->filters);
    }
    return true;
}

void crew_describe_filters(struct crew *crew, uint32_t wait_ms, struct bytes *out) {
    struct error error;
    crew_give(crew, task_describe_filters, NULL);
    if (!crew_wait_for_all_at_most(crew, wait_ms, &error)) {
        log_warn("%s: its filters are not told of", error.text);
    }
    crew_for_each(member, crew) {
        if (!atomic_load(&member->busy)) {
            bytes_append(out, member->filters.data, member->filters.size);
        }
    }
}

static bool task_look(struct crew_member *member, const void *argument) {
    (void)argument;
    look_run(&member->look, &member->worker, &member->portion);
    return true;
}

/* The other's memory is used again for its next portion. */
static void portions_swap(struct portion *a, struct portion *b) {
    struct portion keep = *a;
    *a = *b;
    *b = keep;
}

bool crew_look(struct crew *crew, uint32_t place, const struct look *look, uint32_t wait_ms, struct portion *portion,
               struct error *error) {
    const struct timespec until = time_after_ms(wait_ms);
    struct crew_member *member = crew->places[place].member;
    portion_clear(portion);
    portion->is_last = true;
    if (member == NULL || !member->working || atomic_load(&member->ended)) {
        return true;
    }
    if (!atomic_exchange(&member->busy, true)) {
        member->look = *look;
        member->task = task_look;
        member_post(member, &member->task_message, message_task);
        while (member_is_busy(member) && crew_wait_answer(crew, &until)) {
        }
        if (!atomic_load(&member->busy)) {
            portions_swap(&member->portion, portion);
            return true;
        }
    }
    return atomic_load(&member->ended) || error_set(error, "worker %u did not answer within %u ms", place, wait_ms);
}

struct worker_numbers crew_numbers(const struct crew *crew, uint32_t place) {
    struct worker_numbers numbers = crew->places[place].before;
    const struct crew_member *member = crew->places[place].member;
    if (member != NULL) {
        worker_numbers_add(&numbers, &member->worker);
        worker_numbers_look(&numbers, &member->worker);
    }
    return numbers;
}

static bool task_close(struct crew_member *member, const void *argument) {
    const struct generation *generation = argument;
    bool is_in_it = member->number < generation->workers && !atomic_load(&generation->parts[member->number].left);
    if (is_in_it) {
        worker_retire(&member->worker, generation->parts[member->number].epoch);
    }
    return true;
}

bool crew_close_filtered(struct crew *crew, const struct generation *generation, uint32_t wait_ms) {
    struct error error;
    if (!crew_answers(crew, wait_ms, &error)) {
        log_warn("%s", error.text);
        return false;
    }
    crew_give(crew, task_close, generation);
    crew_wait_for_all(crew);
    return true;
}

/* --- a change --------------------------------------------------------------------------------------------------- */

static int compare_fds(const void *a, const void *b) {
    int left = ((const struct worker_socket *)a)->fd;
    int right = ((const struct worker_socket *)b)->fd;
    return (left > right) - (left < right);
}

static bool member_take_socket(struct crew_member *member, const struct listening_socket *socket,
                               enum socket_duty duty) {
    struct worker_socket *mine = &member->sockets[member->sockets_count];
    *mine = (struct worker_socket){.fd = socket->fd, .index = socket->listener};
    switch (duty) {
    case DUTY_NONE:
        return true;
    case DUTY_BEGIN:
        mine->acceptor = acceptor_make();
        if (mine->acceptor == NULL) {
            return false;
        }
        break;
    case DUTY_GO_ON:
    case DUTY_HAND_OVER:
        break;
    }
    if (duty != DUTY_HAND_OVER) {
        mine->listener = member->next->listeners[socket->listener];
    }
    member->sockets_count++;
    return true;
}

static bool member_take_sockets(struct crew_member *member) {
    const struct sockets *sockets = member->crew->options.sockets;
    member->sockets = calloc(sockets->count + 1, sizeof *member->sockets);
    if (member->sockets == NULL) {
        return false;
    }
    for (size_t i = 0; i < sockets->count; i++) {
        const struct listening_socket *socket = &sockets->items[i];
        if (!member_take_socket(member, socket, sockets_duty(sockets, socket, member->number))) {
            return false;
        }
    }
    qsort(member->sockets, member->sockets_count, sizeof *member->sockets, compare_fds);
    return true;
}

/* One that was told to end may need a moment; it has no session. */
static bool crew_await_end(struct crew *crew, uint32_t number, struct error *error) {
    enum { LOOK_MS = 1, LOOKS = 1000 };
    struct crew_place *place = &crew->places[number];
    for (int look = 0; look < LOOKS; look++) {
        if (atomic_load(&place->member->ended)) {
            crew_part_with(crew, place);
            return true;
        }
        struct timespec pause = {.tv_nsec = LOOK_MS * 1000000};
        while (nanosleep(&pause, &pause) < 0 && errno == EINTR) { /* courtesy is on */
        }
    }
    return error_set(error, "worker %u was told to end, and has not yet", number);
}

static bool crew_fill_place(struct crew *crew, uint32_t number, struct error *error) {
    const struct crew_place *place = &crew->places[number];
    if (place->member != NULL && place->member->dismissed && !crew_await_end(crew, number, error)) {
        return false;
    }
    return place->member != NULL || crew_recruit(crew, number, error);
}

bool crew_prepare(struct crew *crew, struct generation *generation, uint32_t workers, struct error *error) {
    crew->workers_next = workers;
    if (!crew_make_places(crew, workers, error)) {
        return false;
    }
    for (uint32_t number = 0; number < workers; number++) {
        if (!crew_fill_place(crew, number, error)) {
            return false;
        }
    }
    crew_for_each(member, crew) {
        member->next = member->number < workers ? generation : NULL;
        if (!member->dismissed && !member_take_sockets(member)) {
            return error_set(error, "no memory for the listening sockets");
        }
    }
    return true;
}

static bool task_adopt(struct crew_member *member, const void *argument) {
    (void)argument;
    member_adopt(member);
    return false;
}

static void member_begin(struct crew_member *member) {
    atomic_store(&member->busy, true);
    member->working = true;
    sem_post(&member->go);
}

void crew_commit(struct crew *crew) {
    crew_for_each(member, crew) {
        atomic_fetch_add(&member->epochs, member->next != NULL);
    }
    crew_give(crew, task_adopt, NULL);
    crew_for_each(member, crew) {
        if (!member->working) {
            member_begin(member);
        }
    }
    crew_wait_for_all(crew);
    crew_for_each(member, crew) {
        member_forget_sockets(member); /* the acceptors are the worker's now */
    }
    crew->workers = crew->workers_next;
}

void crew_abandon(struct crew *crew) {
    for (uint32_t number = 0; number < crew->places_count; number++) {
        struct crew_place *place = &crew->places[number];
        if (place->member == NULL) {
            continue;
        }
        member_unmake_acceptors(place->member);
        member_forget_sockets(place->member);
        if (!place->member->working) {
            place->member->dismissed = true;
            sem_post(&place->member->go);
            crew_part_with(crew, place);
        }
    }
    crew->workers_next = crew->workers;
}
