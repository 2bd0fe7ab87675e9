#include "lua/embed.h"

/* The path is relative to where the compiler runs, the root of the tree. */
#define EMBED(name, path)                                                                                              \
    __asm__(".section .rodata\n"                                                                                       \
            ".global embed_" #name ", embed_" #name "_end\n"                                                           \
            "embed_" #name ": .incbin \"" path "\"\n"                                                                  \
            "embed_" #name "_end: .byte 0\n"                                                                           \
            ".previous\n")

EMBED(libs, "lua/moonring/libs.lua");
EMBED(values, "lua/moonring/values.lua");
EMBED(params, "lua/moonring/params.lua");
EMBED(meter, "lua/moonring/meter.lua");
EMBED(task, "lua/moonring/task.lua");
EMBED(conn, "lua/moonring/conn.lua");
EMBED(view, "lua/moonring/view.lua");
EMBED(frames, "lua/moonring/frames.lua");
EMBED(protocols, "lua/moonring/protocols.lua");
