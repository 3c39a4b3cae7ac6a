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

/* (rows, width), block after block of columns, in it group after group of rows; see packing.py. */
struct matrix {
    const void *values;
    const uint8_t *columns, *order, *counts;
    const int64_t *starts;
    const float *scales, *bias;
    size_t size, rows, width, groups;
    enum kind kind;
    int gelu; /* whether it is followed by GELU */
};

/* Up to PIECE rows of a group in a block. */
struct piece {
    size_t block, group, row, rows; /* `group` and `row` are where they begin in the matrix */
    int64_t start, end, n;          /* weights: of this piece from `start`, of its group to `end` */
    const uint8_t *columns, *order, *counts;
};

PART size_t columns_of(const struct matrix *m, size_t block)
{
    size_t rest = m->width - block * BLOCK;
    return rest < BLOCK ? rest : BLOCK;
}

/* Fills in a piece; -1 where its weights, or the places of its rows or weights, can't be. Nothing
 * that a matrix says about itself is followed before. */
static int check(const struct matrix *m, struct piece *p, size_t end)
{
    size_t at = p->block * m->rows + p->row;
    size_t group = end - p->group < GROUP ? end - p->group : GROUP;
    size_t rest = p->group + group - p->row;
    uint8_t last_row = 0, last_column = 0;
    p->rows = rest < PIECE ? rest : PIECE;
    const uint8_t *order = m->order + at, *counts = m->counts + at;
    const uint8_t *columns = m->columns + p->start;
    unsigned n = 0;
    for (size_t i = 0; i < p->rows; i++) {
        n += counts[i];
        last_row = order[i] > last_row ? order[i] : last_row;
    }
    if (n > p->end - p->start || n > BLOCK * PIECE || last_row >= group)
        return -1;
    for (unsigned i = 0; i < n; i++)
        last_column = columns[i] > last_column ? columns[i] : last_column;
    p->order = order, p->counts = counts, p->columns = columns, p->n = n;
    return !n || last_column < columns_of(m, p->block) ? 1 : -1;
}

/* The first piece of the group at p->group; 1, 0 where there is none, -1 where it isn't sound. */
static int enter(const struct matrix *m, struct piece *p, size_t end)
{
    if (p->group >= end)
        return 0;
    const int64_t *starts = m->starts + p->block * m->groups + p->group / GROUP;
    p->start = starts[0], p->end = starts[1], p->row = p->group;
    if (p->start < 0 || p->start > p->end || p->end > (int64_t)m->size)
        return -1;
    return check(m, p, end);
}

/* The first piece of a block's rows from `begin` to `end`; as enter(). */
static int first(const struct matrix *m, struct piece *p, size_t block, size_t begin, size_t end)
{
    p->block = block, p->group = begin;
    return enter(m, p, end);
}

/* The piece after one; as enter(). */
static int next(const struct matrix *m, struct piece *p, size_t end)
{
    p->start += p->n, p->row += p->rows;
    if (p->row < end && p->row < p->group + GROUP)
        return check(m, p, end);
    if (p->start != p->end)
        return -1;
    p->group += GROUP;
    return enter(m, p, end);
}

typedef void rows_loop(const float *, float *, const float *, const uint8_t *, const uint8_t *,
                       const uint8_t *, size_t, int);

typedef int product_loop(const struct matrix *, const float *, float *, size_t, size_t, size_t,
                         float *);
typedef int gradient_loop(const struct matrix *, const float *, const float *, float *, size_t,
                          size_t, size_t, float *);

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
    product_loop *product;
    gradient_loop *gradient;
} sets[] = {
#ifdef SETS
    {"avx512", product_avx512, gradient_avx512},
    {"avx2", product_avx2, gradient_avx2},
#endif
    {"plain", product_plain, gradient_plain},
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

/* What one thread does: every `step`th tile, or all tiles of a part of the rows. */
struct work {
    const struct matrix *matrix;
    const float *x;
    float *y, *room;
    const float *gradient; /* of the product, where that of the weights is wanted; else NULL */
    size_t tokens, first, step, begin, end;
    int failed;
};

static void *work(void *given)
{
    struct work *w = given;
    const struct matrix *m = w->matrix;
    for (size_t token = w->first * TILE; token < w->tokens && !w->failed; token += w->step * TILE) {
        size_t tokens = w->tokens - token < TILE ? w->tokens - token : TILE;
        const float *x = w->x + token * m->width;
        w->failed = w->gradient
                        ? sets[set].gradient(m, x, w->gradient + token * m->rows, w->y, tokens,
                                             w->begin, w->end, w->room)
                        : sets[set].product(m, x, w->y + token * m->rows, tokens, w->begin, w->end,
                                            w->room);
    }
    return NULL;
}

/* Shares the tiles between threads, or where there are fewer or their results are added up, the
 * rows; 0, or -1 on a fault. A thread that can't be had leaves its part to this one. */
static int run(struct work whole, size_t threads, size_t room_each)
{
    struct work works[THREADS];
    pthread_t ids[THREADS];
    const struct matrix *m = whole.matrix;
    int started[THREADS] = {0}, failed = 0;
    int by_tile = !whole.gradient && (whole.tokens + TILE - 1) / TILE >= threads;
    for (size_t i = 0; i < threads; i++) {
        struct work *w = works + i;
        *w = whole;
        w->room += i * room_each;
        w->first = by_tile ? i : 0, w->step = by_tile ? threads : 1;
        w->begin = by_tile ? 0 : m->groups * i / threads * GROUP;
        w->end = by_tile ? m->rows : m->groups * (i + 1) / threads * GROUP;
        w->end = w->end < m->rows ? w->end : m->rows;
    }
    for (size_t i = 1; i < threads; i++)
        started[i] = works[i].begin < works[i].end && !pthread_create(ids + i, NULL, work, works + i);
    for (size_t i = 0; i < threads; i++)
        if (!started[i] && works[i].begin < works[i].end)
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

#define PARTS &kind, &values, &columns, &order, &counts, &starts, &scales, &bias, &size, &rows, &width
#define MATRIX                                                                                   \
    {AT(void, values), AT(uint8_t, columns), AT(uint8_t, order), AT(uint8_t, counts),            \
     AT(int64_t, starts), AT(float, scales), AT(float, bias), size, rows, width,                 \
     (rows + GROUP - 1) / GROUP, kind, gelu}

static PyObject *done(int failed)
{
    if (failed)
        return PyErr_Format(PyExc_ValueError, "expected the pattern that a sparse matrix was made "
                            "with, but its parts don't fit each other. Make it again.");
    Py_RETURN_NONE;
}

static PyObject *product(PyObject *self, PyObject *args)
{
    address values, columns, order, counts, starts, scales, bias, x, y, room, gradient;
    Py_ssize_t size, rows, width, tokens, threads, room_each;
    int kind, gelu, failed;
    if (!PyArg_ParseTuple(args, "(iKKKKKKKnnn)pKKKnnKn", PARTS, &gelu, &x, &y, &gradient, &tokens,
                          &threads, &room, &room_each))
        return NULL;
    struct matrix m = MATRIX;
    struct work w = {&m, AT(float, x), AT(float, y), AT(float, room), AT(float, gradient), tokens,
                     0, 1, 0, rows, 0};
    Py_BEGIN_ALLOW_THREADS
    failed = run(w, threads, room_each);
    Py_END_ALLOW_THREADS
    return done(failed);
}

static PyObject *unpack(PyObject *self, PyObject *args)
{
    address values, columns, order, counts, starts, scales, bias, out;
    Py_ssize_t size, rows, width;
    int kind, gelu = 0, more = 0;
    if (!PyArg_ParseTuple(args, "(iKKKKKKKnnn)K", PARTS, &out))
        return NULL;
    struct matrix m = MATRIX;
    struct piece p;
    float room[256]; /* as many as a row can claim */
    Py_BEGIN_ALLOW_THREADS
    for (size_t b = 0; b * BLOCK < m.width && more >= 0; b++)
        for (more = first(&m, &p, b, 0, rows); more > 0; more = next(&m, &p, rows)) {
            int64_t start = p.start;
            for (size_t i = 0; i < p.rows; start += p.counts[i++]) {
                size_t row = p.group + p.order[i];
                float scale = m.scales ? m.scales[row] : 1.0f;
                float *to = AT(float, out) + row * m.width + b * BLOCK;
                const float *from = floats_plain(&m, start, p.counts[i], room);
                for (size_t k = 0; k < p.counts[i]; k++)
                    to[m.columns[start + k]] = from[k] * scale;
            }
        }
    Py_END_ALLOW_THREADS
    return done(more < 0);
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
    {"product", product, METH_VARARGS, "x times a matrix, and a bias; or the gradient of its weights."},
    {"unpack", unpack, METH_VARARGS, "The matrix with its zeros."},
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
