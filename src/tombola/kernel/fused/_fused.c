/* The parts of a training that are not large matrix products, in one pass over memory each.
 *
 * A module of CPython's stable ABI. Its functions take addresses and sizes, which loops.py checks;
 * nothing else may call them. Each runs on one thread, without the GIL. Those of a block take first
 * whether activations are bfloat16.
 */

#define Py_LIMITED_API 0x030b0000
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <math.h>
#include <stdint.h>
#include <string.h>

#include "_shared.h"

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
    int half;
    if (!PyArg_ParseTuple(args, "pKKKnn", &half, &bias, &x, &out, &rows, &width))
        return NULL;
    WITHOUT_GIL(loops->kinds[half].gelu(AT(float, bias), AT(void, x), AT(void, out), rows, width))
    Py_RETURN_NONE;
}

static PyObject *gelu_backward(PyObject *self, PyObject *args)
{
    address derivative, g, dx, dbias;
    Py_ssize_t rows, width;
    int half;
    if (!PyArg_ParseTuple(args, "pKKKKnn", &half, &derivative, &g, &dx, &dbias, &rows, &width))
        return NULL;
    WITHOUT_GIL(loops->kinds[half].gelu_backward(AT(void, derivative), AT(void, g), AT(void, dx),
                                                 AT(float, dbias), rows, width))
    Py_RETURN_NONE;
}

static PyObject *norm(PyObject *self, PyObject *args)
{
    address bias, x, residual, weight, shift, out, r, work, key;
    unsigned int limit;
    Py_ssize_t rows, width;
    float eps, scale;
    int half;
    if (!PyArg_ParseTuple(args, "pKKKKKKKKnnfKIf", &half, &bias, &x, &residual, &weight, &shift,
                          &out, &r, &work, &rows, &width, &eps, &key, &limit, &scale))
        return NULL;
    struct dropout drop = {key, limit, scale};
    WITHOUT_GIL(loops->kinds[half].norm(AT(float, bias), AT(void, x), AT(void, residual),
                                        AT(float, weight), AT(float, shift), AT(void, out),
                                        AT(float, r), AT(float, work), rows, width, eps, drop))
    Py_RETURN_NONE;
}

static PyObject *norm_backward(PyObject *self, PyObject *args)
{
    address n, r, weight, g, dx, dresidual, dbias, dweight, dshift, work, key;
    unsigned int limit;
    Py_ssize_t rows, width;
    float scale;
    int half;
    if (!PyArg_ParseTuple(args, "pKKKKKKKKKKnnKIf", &half, &n, &r, &weight, &g, &dx, &dresidual,
                          &dbias, &dweight, &dshift, &work, &rows, &width, &key, &limit, &scale))
        return NULL;
    struct dropout drop = {key, limit, scale};
    WITHOUT_GIL(loops->kinds[half].norm_backward(
        AT(void, n), AT(float, r), AT(float, weight), AT(void, g), AT(void, dx),
        AT(void, dresidual), AT(float, dbias), AT(float, dweight), AT(float, dshift),
        AT(float, work), rows, width, drop))
    Py_RETURN_NONE;
}

/* The first part of the arguments of attention: addresses, then sizes, then numbers. */
#define ATTENTION "p(KKK)(KKKK)(KKK)(nn)(nnn)(nn)fK(KIf)"
#define ATTENTION_ARGS                                                                          \
    &half, &q, &k, &v, &bias_q, &bias_k, &bias_v, &none, &queries, &keys, &counts, &stride_q,    \
        &stride, &texts, &heads, &size, &most, &longest, &factor, &work, &key, &limit, &scale
#define ATTENTION_NAMES                                                                         \
    int half;                                                                                   \
    unsigned int limit;                                                                         \
    float factor, scale;                                                                        \
    address q, k, v, bias_q, bias_k, bias_v, none, queries, keys, counts, work, key;             \
    Py_ssize_t stride_q, stride, texts, heads, size, most, longest
#define ATTENTION_MADE                                                                          \
    {                                                                                           \
        AT(void, q), AT(void, k), AT(void, v), AT(float, bias_q), AT(float, bias_k),             \
            AT(float, bias_v), AT(float, none), AT(int64_t, queries), AT(int64_t, keys),         \
            AT(int64_t, counts), stride_q, stride, texts, heads, size, most, longest, factor,    \
            AT(float, work), {key, limit, scale}                                                \
    }

static PyObject *attend(PyObject *self, PyObject *args)
{
    ATTENTION_NAMES;
    address out, p;
    if (!PyArg_ParseTuple(args, ATTENTION "KK", ATTENTION_ARGS, &out, &p))
        return NULL;
    struct attention a = ATTENTION_MADE;
    WITHOUT_GIL(loops->kinds[half].attend(&a, AT(void, out), AT(float, p)))
    Py_RETURN_NONE;
}

static PyObject *attend_backward(PyObject *self, PyObject *args)
{
    ATTENTION_NAMES;
    address g, p, dq, dk, dv, dbias_q, dbias_k, dbias_v;
    if (!PyArg_ParseTuple(args, ATTENTION "KK(KKK)(KKK)", ATTENTION_ARGS, &g, &p, &dq, &dk, &dv,
                          &dbias_q, &dbias_k, &dbias_v))
        return NULL;
    struct attention a = ATTENTION_MADE;
    struct gradients d = {AT(void, dq),       AT(void, dk),       AT(void, dv),
                          AT(float, dbias_q), AT(float, dbias_k), AT(float, dbias_v)};
    WITHOUT_GIL(loops->kinds[half].attend_backward(&a, AT(void, g), AT(float, p), &d))
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

static PyObject *adamw_kept(PyObject *self, PyObject *args)
{
    address w, g, m, v, kept;
    Py_ssize_t n, count;
    struct adamw a;
    int fits;
    if (!PyArg_ParseTuple(args, "KKKKKnnffffffff", &w, &g, &m, &v, &kept, &n, &count, &a.clip,
                          &a.decay, &a.rate, &a.root, &a.part1, &a.beta2, &a.part2, &a.eps))
        return NULL;
    WITHOUT_GIL(fits = loops->adamw_kept(AT(float, w), AT(float, g), AT(float, m), AT(float, v),
                                         AT(uint8_t, kept), n, count, a))
    if (!fits)
        return PyErr_Format(PyExc_ValueError,
                            "expected moments of each weight that is kept, got moments of %zd", count);
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
    {"attend", attend, METH_VARARGS, "Attention and dropout, with biases."},
    {"attend_backward", attend_backward, METH_VARARGS, "Its gradients."},
    {"squares", squares, METH_VARARGS, "Sum of squares of what is kept."},
    {"adamw", adamw, METH_VARARGS, "A clipped step of AdamW."},
    {"adamw_kept", adamw_kept, METH_VARARGS, "The same with moments of what is kept."},
    {"adamw_rows", adamw_rows, METH_VARARGS, "The same where few rows have a gradient."},
    {"use", use, METH_VARARGS, "Take the loops of an instruction set: plain, avx2 or avx512."},
    {"use_best", use_best, METH_NOARGS, "Take the loops of the largest that there is."},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef module = {
    .m_base = PyModuleDef_HEAD_INIT,
    .m_name = "_fused",
    .m_doc = "Loops of a training that are not matrix products; see the modules beside it.",
    .m_size = -1,
    .m_methods = methods,
};

PyMODINIT_FUNC PyInit__fused(void)
{
    count_bits();
    Py_XDECREF(use_best(NULL, NULL));
    return PyModule_Create(&module);
}
