/* The parts of a training that are not matrix products, in one pass over memory each.
 *
 * A module of CPython's stable ABI. Its functions take addresses and sizes, which loops.py checks; nothing else may call them. Each runs on one thread, without the GIL.
 */

#define Py_LIMITED_API 0x030b0000
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <math.h>
#include <stdint.h>
#include <string.h>

#define LANES 16
#define BLOCK 1024
#define PART static inline __attribute__((always_inline))
#define LOOP static __attribute__((noinline))

/* Which numbers are dropped, and what the others are multiplied with; nothing where limit is 0. */
struct dropout {
    uint64_t key;
    uint32_t limit; /* the chance to be dropped, times 2**32 */
    float scale;
};

/* One step of AdamW for one tensor. */
struct adamw {
    float clip, decay, rate, root, part1, beta2, part2, eps;
};

struct loops {
    void (*gelu)(const float *, float *, float *, size_t, size_t);
    void (*gelu_backward)(const float *, const float *, float *, float *, size_t, size_t);
    void (*norm)(const float *, float *, const float *, const float *, const float *, float *,
                 float *, size_t, size_t, float, struct dropout);
    void (*norm_backward)(const float *, const float *, const float *, const float *, float *,
                          float *, float *, float *, float *, size_t, size_t, struct dropout);
    void (*softmax)(float *, float *, const int64_t *, size_t, size_t, size_t, float,
                    struct dropout);
    void (*softmax_backward)(const float *, const float *, float *, size_t, size_t, size_t, float,
                             struct dropout);
    double (*squares)(const float *, const uint8_t *, size_t);
    void (*adamw)(float *, const float *, float *, float *, const uint8_t *, size_t, struct adamw);
    void (*adamw_rows)(float *, float *, float *, const float *, const int64_t *, const float *,
                       const uint8_t *, size_t, size_t, struct adamw);
};

/* --- one copy of the loops for each instruction set --- */

#define SET plain
#define WIDE 4
#define lanes lanes_plain
typedef float lanes __attribute__((vector_size(4 * WIDE)));
#include "_loops.h"
#undef SET
#undef WIDE
#undef lanes

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
#define SETS

#pragma GCC push_options
#pragma GCC target("avx2")
#define SET avx2
#define WIDE 8
#define lanes lanes_avx2
typedef float lanes __attribute__((vector_size(4 * WIDE)));
#include "_loops.h"
#undef SET
#undef WIDE
#undef lanes
#pragma GCC pop_options

#pragma GCC push_options
#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl,prefer-vector-width=512")
#define SET avx512
#define WIDE 16
#define lanes lanes_avx512
typedef float lanes __attribute__((vector_size(4 * WIDE)));
#include "_loops.h"
#undef SET
#undef WIDE
#undef lanes
#pragma GCC pop_options
#endif

static const struct loops *loops = &loops_plain;

/* The loops of an instruction set; NULL where this processor or compiler lacks it. */
static const struct loops *find(const char *set)
{
    if (!strcmp(set, "plain"))
        return &loops_plain;
#ifdef SETS
    if (!strcmp(set, "avx2") && __builtin_cpu_supports("avx2"))
        return &loops_avx2;
    if (!strcmp(set, "avx512") && __builtin_cpu_supports("avx512f")
        && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq")
        && __builtin_cpu_supports("avx512vl"))
        return &loops_avx512;
#endif
    return NULL;
}

/* --- what Python calls --- */

/* An address comes as a whole number; None of a mask is 0. */
#define AT(type, address) ((type *)(uintptr_t)(address))
#define WITHOUT_GIL(call) Py_BEGIN_ALLOW_THREADS call; Py_END_ALLOW_THREADS
typedef unsigned long long address;

static PyObject *gelu(PyObject *self, PyObject *args)
{
    address bias, x, out;
    Py_ssize_t rows, width;
    if (!PyArg_ParseTuple(args, "KKKnn", &bias, &x, &out, &rows, &width))
        return NULL;
    WITHOUT_GIL(loops->gelu(AT(float, bias), AT(float, x), AT(float, out), rows, width))
    Py_RETURN_NONE;
}

static PyObject *gelu_backward(PyObject *self, PyObject *args)
{
    address derivative, g, dx, dbias;
    Py_ssize_t rows, width;
    if (!PyArg_ParseTuple(args, "KKKKnn", &derivative, &g, &dx, &dbias, &rows, &width))
        return NULL;
    WITHOUT_GIL(loops->gelu_backward(AT(float, derivative), AT(float, g), AT(float, dx),
                                     AT(float, dbias), rows, width))
    Py_RETURN_NONE;
}

static PyObject *norm(PyObject *self, PyObject *args)
{
    address bias, x, residual, weight, shift, out, r, key;
    unsigned int limit;
    Py_ssize_t rows, width;
    float eps, scale;
    if (!PyArg_ParseTuple(args, "KKKKKKKnnfKIf", &bias, &x, &residual, &weight, &shift, &out, &r,
                          &rows, &width, &eps, &key, &limit, &scale))
        return NULL;
    struct dropout drop = {key, limit, scale};
    WITHOUT_GIL(loops->norm(AT(float, bias), AT(float, x), AT(float, residual), AT(float, weight),
                            AT(float, shift), AT(float, out), AT(float, r), rows, width, eps, drop))
    Py_RETURN_NONE;
}

static PyObject *norm_backward(PyObject *self, PyObject *args)
{
    address n, r, weight, g, dx, dresidual, dbias, dweight, dshift, key;
    unsigned int limit;
    Py_ssize_t rows, width;
    float scale;
    if (!PyArg_ParseTuple(args, "KKKKKKKKKnnKIf", &n, &r, &weight, &g, &dx, &dresidual, &dbias,
                          &dweight, &dshift, &rows, &width, &key, &limit, &scale))
        return NULL;
    struct dropout drop = {key, limit, scale};
    WITHOUT_GIL(loops->norm_backward(AT(float, n), AT(float, r), AT(float, weight), AT(float, g),
                                     AT(float, dx), AT(float, dresidual), AT(float, dbias),
                                     AT(float, dweight), AT(float, dshift), rows, width, drop))
    Py_RETURN_NONE;
}

static PyObject *softmax(PyObject *self, PyObject *args)
{
    address scores, out, lengths, key;
    unsigned int limit;
    Py_ssize_t groups, rows, width;
    float factor, scale;
    if (!PyArg_ParseTuple(args, "KKKnnnfKIf", &scores, &out, &lengths, &groups, &rows, &width,
                          &factor, &key, &limit, &scale))
        return NULL;
    struct dropout drop = {key, limit, scale};
    WITHOUT_GIL(loops->softmax(AT(float, scores), AT(float, out), AT(int64_t, lengths), groups,
                               rows, width, factor, drop))
    Py_RETURN_NONE;
}

static PyObject *softmax_backward(PyObject *self, PyObject *args)
{
    address p, g, dscores, key;
    unsigned int limit;
    Py_ssize_t groups, rows, width;
    float factor, scale;
    if (!PyArg_ParseTuple(args, "KKKnnnfKIf", &p, &g, &dscores, &groups, &rows, &width, &factor,
                          &key, &limit, &scale))
        return NULL;
    struct dropout drop = {key, limit, scale};
    WITHOUT_GIL(loops->softmax_backward(AT(float, p), AT(float, g), AT(float, dscores), groups,
                                        rows, width, factor, drop))
    Py_RETURN_NONE;
}

static PyObject *squares(PyObject *self, PyObject *args)
{
    address g, kept;
    Py_ssize_t n;
    double sum;
    if (!PyArg_ParseTuple(args, "KKn", &g, &kept, &n))
        return NULL;
    WITHOUT_GIL(sum = loops->squares(AT(float, g), AT(uint8_t, kept), n))
    return PyFloat_FromDouble(sum);
}

static PyObject *adamw(PyObject *self, PyObject *args)
{
    address w, g, m, v, kept;
    Py_ssize_t n;
    struct adamw a;
    if (!PyArg_ParseTuple(args, "KKKKKnffffffff", &w, &g, &m, &v, &kept, &n, &a.clip, &a.decay,
                          &a.rate, &a.root, &a.part1, &a.beta2, &a.part2, &a.eps))
        return NULL;
    WITHOUT_GIL(loops->adamw(AT(float, w), AT(float, g), AT(float, m), AT(float, v),
                             AT(uint8_t, kept), n, a))
    Py_RETURN_NONE;
}

static PyObject *adamw_rows(PyObject *self, PyObject *args)
{
    address w, m, v, g, places, zeros, kept;
    Py_ssize_t height, width;
    struct adamw a;
    if (!PyArg_ParseTuple(args, "KKKKKKKnnffffffff", &w, &m, &v, &g, &places, &zeros, &kept,
                          &height, &width, &a.clip, &a.decay, &a.rate, &a.root, &a.part1, &a.beta2,
                          &a.part2, &a.eps))
        return NULL;
    WITHOUT_GIL(loops->adamw_rows(AT(float, w), AT(float, m), AT(float, v), AT(float, g),
                                  AT(int64_t, places), AT(float, zeros), AT(uint8_t, kept), height,
                                  width, a))
    Py_RETURN_NONE;
}

static PyObject *use(PyObject *self, PyObject *args)
{
    const char *set;
    if (!PyArg_ParseTuple(args, "s", &set))
        return NULL;
    const struct loops *found = find(set);
    if (!found)
        return PyErr_Format(PyExc_ValueError, "expected an instruction set of this processor, got %s",
                            set);
    loops = found;
    Py_RETURN_NONE;
}

static PyObject *use_best(PyObject *self, PyObject *args)
{
    const char *sets[] = {"plain", "avx2", "avx512"};
    for (size_t i = 0; i < sizeof sets / sizeof *sets; i++)
        if (find(sets[i]))
            loops = find(sets[i]);
    Py_RETURN_NONE;
}

static PyMethodDef methods[] = {
    {"gelu", gelu, METH_VARARGS, "Bias and GELU."},
    {"gelu_backward", gelu_backward, METH_VARARGS, "Its gradients."},
    {"norm", norm, METH_VARARGS, "Bias, dropout, residual and LayerNorm."},
    {"norm_backward", norm_backward, METH_VARARGS, "Its gradients."},
    {"softmax", softmax, METH_VARARGS, "Softmax and dropout."},
    {"softmax_backward", softmax_backward, METH_VARARGS, "Its gradient."},
    {"squares", squares, METH_VARARGS, "Sum of squares of what is kept."},
    {"adamw", adamw, METH_VARARGS, "A clipped step of AdamW."},
    {"adamw_rows", adamw_rows, METH_VARARGS, "The same where few rows have a gradient."},
    {"use", use, METH_VARARGS, "Take the loops of an instruction set: plain, avx2 or avx512."},
    {"use_best", use_best, METH_NOARGS, "Take the loops of the largest that there is."},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef module = {
    .m_base = PyModuleDef_HEAD_INIT,
    .m_name = "_fused",
    .m_doc = "Loops of a training that are not matrix products; see fused.py.",
    .m_size = -1,
    .m_methods = methods,
};

PyMODINIT_FUNC PyInit__fused(void)
{
    Py_XDECREF(use_best(NULL, NULL));
    return PyModule_Create(&module);
}
