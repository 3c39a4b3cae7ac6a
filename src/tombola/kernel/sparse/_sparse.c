/* Products with a sparse matrix.
 *
 * A module of CPython's stable ABI. Its functions take addresses and sizes, which products.py checks; nothing else may call them. They allocate nothing, run without the GIL, and check what a matrix says about itself before they follow it.
 */

#define Py_LIMITED_API 0x030b0000
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <pthread.h>
#include <stdint.h>
#include <string.h>

#define TILE 64   /* tokens */
#define BLOCK 128 /* columns; a tile of them fits into the first cache */
#define GROUP 128 /* rows that are in the order of their weights */
#define PIECE 32  /* rows whose weights are checked and converted together */
#define THREADS 256
#define PART static inline __attribute__((always_inline))
#define LOOP static __attribute__((noinline))

/* Floats of room that a tile needs, and as many for each row as it has tokens. */
#define ROOM_BLOCK (BLOCK * TILE)
#define ROOM_VALUES (BLOCK * PIECE)

enum kind { FLOAT32, BFLOAT16, INT8 };

/* (rows, width), block after block of columns, in it row after row; see packing.py. */
struct matrix {
    const void *values;
    const uint8_t *columns, *order, *counts;
    const int64_t *starts;
    const float *scales, *bias;
    size_t rows, width, groups;
    enum kind kind;
};

typedef int tile(const struct matrix *, const float *, float *, size_t, size_t, size_t, float *);

typedef void rows_loop(const float *, float *, const float *, const uint8_t *, const uint8_t *,
                       const uint8_t *, size_t, int);

/* --- one copy of the loops for each instruction set --- */

#define SET plain
#define WIDE 4
#include "_product.h"
#undef SET
#undef WIDE

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
#define SETS

#pragma GCC push_options
#pragma GCC target("avx2,fma")
#define SET avx2
#define WIDE 8
#include "_product.h"
#undef SET
#undef WIDE
#pragma GCC pop_options

#pragma GCC push_options
#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl,fma,prefer-vector-width=512")
#define SET avx512
#define WIDE 16
#include "_product.h"
#undef SET
#undef WIDE
#pragma GCC pop_options
#endif

static const struct {
    const char *name;
    tile *tile;
} sets[] = {
#ifdef SETS
    {"avx512", tile_avx512},
    {"avx2", tile_avx2},
#endif
    {"plain", tile_plain},
};
static size_t set;

/* Whether this processor has an instruction set. */
static int has(const char *name)
{
#ifdef SETS
    if (!strcmp(name, "avx512"))
        return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw")
               && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
    if (!strcmp(name, "avx2"))
        return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
#endif
    return 1;
}

/* --- threads --- */

/* What one thread does: every `step`th tile, or a part of the rows of the only one. */
struct work {
    const struct matrix *matrix;
    const float *x;
    float *y, *room;
    size_t tokens, first, step, begin, end;
    int failed;
};

static void *work(void *given)
{
    struct work *w = given;
    const struct matrix *m = w->matrix;
    for (size_t token = w->first * TILE; token < w->tokens && !w->failed; token += w->step * TILE) {
        size_t tokens = w->tokens - token < TILE ? w->tokens - token : TILE;
        w->failed = sets[set].tile(m, w->x + token * m->width, w->y + token * m->rows, tokens,
                                   w->begin, w->end, w->room);
    }
    return NULL;
}

/* Shares the tiles between threads, or where there are fewer, the rows; 0, or -1 on a fault. */
static int run(const struct matrix *m, const float *x, float *y, size_t tokens, size_t threads,
               float *room, size_t room_each)
{
    struct work works[THREADS];
    pthread_t ids[THREADS];
    int started[THREADS] = {0}, failed = 0, by_tile = (tokens + TILE - 1) / TILE >= threads;
    for (size_t i = 0; i < threads; i++) {
        struct work w = {m, x, y, room + i * room_each, tokens, 0, 1, 0, m->rows, 0};
        if (by_tile)
            w.first = i, w.step = threads;
        else
            w.begin = m->groups * i / threads * GROUP, w.end = m->groups * (i + 1) / threads * GROUP;
        w.end = w.end < m->rows ? w.end : m->rows;
        works[i] = w;
    }
    for (size_t i = 1; i < threads; i++)
        started[i] = !pthread_create(ids + i, NULL, work, works + i);
    for (size_t i = 0; i < threads; i++)
        if (!started[i])
            work(works + i);
    for (size_t i = 0; i < threads; i++) {
        if (started[i])
            pthread_join(ids[i], NULL);
        failed |= works[i].failed;
    }
    return failed;
}

/* --- what Python calls --- */

/* An address comes as a whole number; None of a tensor is 0. */
#define AT(type, address) ((type *)(uintptr_t)(address))
typedef unsigned long long address;

static PyObject *product(PyObject *self, PyObject *args)
{
    address values, columns, order, counts, starts, scales, bias, x, y, room;
    Py_ssize_t rows, width, tokens, threads, room_each;
    int kind, failed;
    if (!PyArg_ParseTuple(args, "iKKKKKKKnnKKnnKn", &kind, &values, &columns, &order, &counts, &starts,
                          &scales, &bias, &rows, &width, &x, &y, &tokens, &threads, &room,
                          &room_each))
        return NULL;
    struct matrix m = {AT(void, values), AT(uint8_t, columns), AT(uint8_t, order),
                       AT(uint8_t, counts), AT(int64_t, starts), AT(float, scales), AT(float, bias), rows, width,
                       (rows + GROUP - 1) / GROUP, kind};
    Py_BEGIN_ALLOW_THREADS
    failed = run(&m, AT(float, x), AT(float, y), tokens, threads, AT(float, room), room_each);
    Py_END_ALLOW_THREADS
    if (failed)
        return PyErr_Format(PyExc_ValueError, "the pattern of a sparse matrix was changed");
    Py_RETURN_NONE;
}

static PyObject *use(PyObject *self, PyObject *args)
{
    const char *name;
    if (!PyArg_ParseTuple(args, "s", &name))
        return NULL;
    for (size_t i = 0; i < sizeof sets / sizeof *sets; i++)
        if (!strcmp(sets[i].name, name) && has(name)) {
            set = i;
            Py_RETURN_NONE;
        }
    return PyErr_Format(PyExc_ValueError, "expected an instruction set of this processor, got %s",
                        name);
}

static PyObject *use_best(PyObject *self, PyObject *args)
{
    for (set = 0; !has(sets[set].name); set++)
        ;
    Py_RETURN_NONE;
}

static PyObject *instruction_set(PyObject *self, PyObject *args)
{
    return PyUnicode_FromString(sets[set].name);
}

static PyMethodDef methods[] = {
    {"product", product, METH_VARARGS, "x times a matrix, and a bias."},
    {"use", use, METH_VARARGS, "Take the loops of an instruction set: plain, avx2 or avx512."},
    {"use_best", use_best, METH_NOARGS, "Take the loops of the largest that there is."},
    {"instruction_set", instruction_set, METH_NOARGS, "The one whose loops are taken."},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef module = {
    .m_base = PyModuleDef_HEAD_INIT,
    .m_name = "_sparse",
    .m_doc = "Products with a sparse matrix; see products.py.",
    .m_size = -1,
    .m_methods = methods,
};

PyMODINIT_FUNC PyInit__sparse(void)
{
    Py_XDECREF(use_best(NULL, NULL));
    return PyModule_Create(&module);
}
