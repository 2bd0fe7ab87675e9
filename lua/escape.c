#include "lua/escape.h"

#include <dlfcn.h>
#include <lua.h>
#include <stdint.h>

/* The object file that an address lies in, or NULL. Unlike dladdr it may be called in a signal handler. */
static struct link_map *object_of(uintptr_t address) {
    struct dl_find_object found;
    void *pointer = (void *)address; /* NOLINT: the interrupted instruction is known by its number only */
    return _dl_find_object(pointer, &found) == 0 ? found.dlfo_link_map : NULL;
}

#if defined(__x86_64__)

bool escape_is_possible(void) {
    return object_of((uintptr_t)lua_resume) != object_of((uintptr_t)escape_is_possible);
}

/* Code outside of every object file is what LuaJIT's compiler made. */
static bool is_lua_code(uintptr_t address) {
    struct link_map *object = object_of(address);
    return object == NULL || object == object_of((uintptr_t)lua_resume);
}

static _Noreturn void escape_land(sigjmp_buf *door) {
    siglongjmp(*door, 1);
}

bool escape_redirect(ucontext_t *context, sigjmp_buf *door) {
    greg_t *registers = context->uc_mcontext.gregs;
    if (!escape_is_possible() || !is_lua_code((uintptr_t)registers[REG_RIP])) {
        return false;
    }
    /* A call of escape_land(door), below the red zone of the interrupted function, with the alignment that a function
     * finds at its entry. The kernel restores signal mask and registers when the handler returns. */
    registers[REG_RSP] = ((registers[REG_RSP] - 128) & ~(greg_t)15) - 8;
    registers[REG_RIP] = (greg_t)(uintptr_t)escape_land;
    registers[REG_RDI] = (greg_t)(uintptr_t)door;
    return true;
}

#else

bool escape_is_possible(void) {
    return false;
}

bool escape_redirect(ucontext_t *context, sigjmp_buf *door) {
    (void)context;
    (void)door;
    return false;
}

#endif
