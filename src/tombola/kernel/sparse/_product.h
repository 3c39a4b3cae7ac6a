/* The loops of _sparse.c, once for each instruction set: SET is the name of one, WIDE its floats.
 *
 * A tile is up to TILE tokens: a block of its input is (features, tile), so that one weight is
 * multiplied with all its tokens at once, and so are its sums, (rows, tile).
 */

#define JOIN_(a, b) a##_##b
#define JOIN(a, b) JOIN_(a, b)
#define NAME(function) JOIN(function, SET)
typedef float NAME(four) __attribute__((vector_size(16), aligned(4), may_alias));
typedef float NAME(wide) __attribute__((vector_size(4 * WIDE), aligned(4), may_alias));
typedef int32_t NAME(places) __attribute__((vector_size(4 * WIDE)));
#include "../_erf.h"

/* --- between (tokens, features) and (features, tokens) --- */

/* Number j of vector i changes places with number j - bit of vector i + bit, for each i below WIDE
 * that lacks the bit and j that has it. */
PART void NAME(exchange)(NAME(wide) *v, int bit)
{
    NAME(places) low, high;
    for (int i = 0; i < WIDE; i++) {
        low[i] = i & bit ? WIDE + i - bit : i;
        high[i] = low[i] + bit;
    }
#pragma GCC unroll 16
    for (int i = 0; i < WIDE; i++)
        if (!(i & bit)) {
            NAME(wide) a = v[i], b = v[i + bit];
            v[i] = __builtin_shuffle(a, b, low);
            v[i + bit] = __builtin_shuffle(a, b, high);
        }
}

/* to <- the transpose of WIDE rows of WIDE numbers, all but `some` of which are taken as 0. The loops
 * are unrolled so that the vectors stay in registers. */
PART void NAME(square)(const float *from, size_t from_stride, float *to, size_t to_stride,
                       size_t some)
{
    NAME(wide) v[WIDE];
#pragma GCC unroll 16
    for (size_t i = 0; i < WIDE; i++)
        v[i] = i < some ? *(const NAME(wide) *)(from + i * from_stride) : (NAME(wide)){0};
    if (WIDE > 8)
        NAME(exchange)(v, 8);
    if (WIDE > 4)
        NAME(exchange)(v, 4);
    NAME(exchange)(v, 2);
    NAME(exchange)(v, 1);
#pragma GCC unroll 16
    for (size_t i = 0; i < WIDE; i++)
        *(NAME(wide) *)(to + i * to_stride) = v[i];
}

/* to[j * to_stride + i] = from[i * from_stride + j] for i < rows and j < columns, and 0 for i from
 * there up to `padded`. */
LOOP void NAME(turn)(const float *from, size_t from_stride, float *to, size_t to_stride,
                     size_t rows, size_t padded, size_t columns)
{
    const size_t whole = padded / WIDE * WIDE;
    for (size_t i = 0; i < whole; i += WIDE) {
        size_t j = 0, some = rows < i ? 0 : rows - i < WIDE ? rows - i : WIDE;
        const float *row = from + i * from_stride;
        for (; j + WIDE <= columns; j += WIDE)
            if (some == WIDE)
                NAME(square)(row + j, from_stride, to + j * to_stride + i, to_stride, WIDE);
            else
                NAME(square)(row + j, from_stride, to + j * to_stride + i, to_stride, some);
        for (; j < columns; j++)
            for (size_t k = 0; k < WIDE; k++)
                to[j * to_stride + i + k] = k < some ? row[k * from_stride + j] : 0.0f;
    }
    for (size_t j = 0; whole < padded && j < columns; j++)
        for (size_t k = whole; k < padded; k++)
            to[j * to_stride + k] = k < rows ? from[k * from_stride + j] : 0.0f;
}

/* --- weights --- */

/* The weights of a group as floats: in place, or converted into `room`. */
PART const float *NAME(floats)(const struct matrix *m, size_t start, size_t n, float *room)
{
    if (m->kind == FLOAT32)
        return (const float *)m->values + start;
    if (m->kind == BFLOAT16) {
        const uint16_t *values = (const uint16_t *)m->values + start;
        for (size_t i = 0; i < n; i++) {
            uint32_t bits = (uint32_t)values[i] << 16;
            memcpy(room + i, &bits, sizeof bits);
        }
    } else {
        const int8_t *values = (const int8_t *)m->values + start;
        for (size_t i = 0; i < n; i++)
            room[i] = values[i];
    }
    return room;
}

/* --- the product --- */

/* Adds rows of a block times a tile to their sums: VECTORS of type `vector` for each row, in
 * WAYS sums, since a sum waits for the one before it. */
#define ROWS(name, vector, VECTORS, WAYS)                                                         \
    LOOP void NAME(name)(const float *x, float *sums, const float *values,                        \
                         const uint8_t *columns, const uint8_t *order, const uint8_t *counts,     \
                         size_t rows, int first)                                                  \
    {                                                                                             \
        for (; rows; rows--) {                                                                    \
            vector sum[WAYS][VECTORS], *at = (vector *)sums + (size_t)*order++ * VECTORS;         \
            for (int i = 0; i < VECTORS; i++)                                                     \
                sum[0][i] = first ? (vector){0} : at[i];                                          \
            for (int way = 1; way < WAYS; way++)                                                  \
                for (int i = 0; i < VECTORS; i++)                                                 \
                    sum[way][i] = (vector){0};                                                    \
            size_t n = *counts++;                                                                 \
            for (; n >= WAYS; n -= WAYS)                                                          \
                for (int way = 0; way < WAYS; way++) {                                            \
                    const vector *part = (const vector *)x + (size_t)*columns++ * VECTORS;        \
                    float value = *values++;                                                      \
                    for (int i = 0; i < VECTORS; i++)                                             \
                        sum[way][i] += value * part[i];                                           \
                }                                                                                 \
            for (; WAYS > 1 && n; n--) {                                                          \
                const vector *part = (const vector *)x + (size_t)*columns++ * VECTORS;            \
                float value = *values++;                                                          \
                for (int i = 0; i < VECTORS; i++)                                                 \
                    sum[0][i] += value * part[i];                                                 \
            }                                                                                     \
            for (int way = 1; way < WAYS; way++)                                                  \
                for (int i = 0; i < VECTORS; i++)                                                 \
                    sum[0][i] += sum[way][i];                                                     \
            for (int i = 0; i < VECTORS; i++)                                                     \
                at[i] = sum[0][i];                                                                \
        }                                                                                         \
    }

ROWS(rows4, NAME(four), 1, 4)
ROWS(rows16, NAME(wide), 16 / WIDE, 2)
ROWS(rows32, NAME(wide), 32 / WIDE, 2)
ROWS(rows48, NAME(wide), 48 / WIDE, 1)
ROWS(rows64, NAME(wide), 64 / WIDE, 1)

/* The loop for a tile. */
PART rows_loop *NAME(rows)(size_t tile)
{
    return tile == 4    ? NAME(rows4)
           : tile == 16 ? NAME(rows16)
           : tile == 32 ? NAME(rows32)
           : tile == 48 ? NAME(rows48)
                        : NAME(rows64);
}

/* Adds a piece times a tile of the block's input to the sums of its group. */
PART void NAME(add)(const struct matrix *m, const struct piece *p, const float *x, float *sums,
                    float *room, size_t tile)
{
    const float *values = NAME(floats)(m, p->start, p->n, room);
    NAME(rows)(tile)(x, sums, values, p->columns, p->order, p->counts, p->rows, !p->block);
}

/* y = x W.T + bias, or GELU of it, for rows from `begin` to `end`, which begin at a group, and at
 * most TILE tokens; 0, or -1 where the matrix isn't sound. */
LOOP int NAME(product)(const struct matrix *m, const float *x, float *y, size_t tokens,
                       size_t begin, size_t end, float *room)
{
    size_t tile = tokens <= 4 ? 4 : (tokens + 15) / 16 * 16;
    float *block = room, *values = block + ROOM_BLOCK, *sums = values + ROOM_VALUES;
    struct piece p;
    for (size_t b = 0; b * BLOCK < m->width; b++) {
        NAME(turn)(x + b * BLOCK, m->width, block, tile, tokens, tile, columns_of(m, b));
        for (int more = first(m, &p, b, begin, end); more; more = next(m, &p, end)) {
            if (more < 0)
                return -1;
            NAME(add)(m, &p, block, sums + (p.group - begin) * tile, values, tile);
        }
    }
    for (size_t row = begin; row < end; row++) {
        float scale = m->scales ? m->scales[row] : 1.0f, bias = m->bias ? m->bias[row] : 0.0f;
        float *sum = sums + (row - begin) * tile;
        for (size_t token = 0; token < tile; token++)
            sum[token] = sum[token] * scale + bias;
        for (size_t token = 0; m->gelu && token < tile; token++)
            sum[token] *= NAME(erf)(sum[token] * 0.707106781186547524f) * 0.5f + 0.5f;
    }
    NAME(turn)(sums, tile, y + begin, m->rows, end - begin, end - begin, tokens);
    return 0;
}

/* --- the gradient of the weights --- */

/* The sums of four vectors. */
PART NAME(four) NAME(sums)(NAME(wide) a, NAME(wide) b, NAME(wide) c, NAME(wide) d)
{
    NAME(places) low, high, first, last;
    for (int i = 0; i < WIDE; i++) { /* within 128 bits, where shuffles are cheap */
        low[i] = i / 4 * 4 + i % 4 / 2 + i % 2 * WIDE;
        high[i] = low[i] + 2;
        first[i] = i / 4 * 4 + i % 2 + i % 4 / 2 * WIDE;
        last[i] = first[i] + 2;
    }
    a = __builtin_shuffle(a, b, low) + __builtin_shuffle(a, b, high);
    c = __builtin_shuffle(c, d, low) + __builtin_shuffle(c, d, high);
    a = __builtin_shuffle(a, c, first) + __builtin_shuffle(a, c, last);
    NAME(four) parts[WIDE / 4];
    memcpy(parts, &a, sizeof a);
    for (int i = 1; i < WIDE / 4; i++)
        parts[0] += parts[i];
    return parts[0];
}

/* The products of a row of the gradient with the input of a weight's column, not yet summed. */
PART NAME(wide) NAME(dot)(const NAME(wide) *own, const float *x, uint8_t column)
{
    const NAME(wide) *other = (const NAME(wide) *)(x + (size_t)column * TILE);
    NAME(wide) sum = own[0] * other[0];
    for (int i = 1; i < TILE / WIDE; i++)
        sum += own[i] * other[i];
    return sum;
}

/* Adds a piece's products of the gradient of its rows, (group, TILE), with its block's input. */
PART void NAME(dots)(const struct piece *p, const float *x, const float *g, float *out)
{
    const uint8_t *columns = p->columns;
    const float *end = out + p->n;
    for (size_t row = 0; row < p->rows; row++) {
        NAME(wide) own[TILE / WIDE];
        memcpy(own, g + (size_t)p->order[row] * TILE, sizeof own);
        size_t n = p->counts[row];
        for (; n >= 4; n -= 4, columns += 4, out += 4)
            *(NAME(four) *)out += NAME(sums)(
                NAME(dot)(own, x, columns[0]), NAME(dot)(own, x, columns[1]),
                NAME(dot)(own, x, columns[2]), NAME(dot)(own, x, columns[3]));
        if (!n)
            continue;
        NAME(wide) none = {0};
        NAME(four) rest = NAME(sums)(
            NAME(dot)(own, x, columns[0]), n > 1 ? NAME(dot)(own, x, columns[1]) : none,
            n > 2 ? NAME(dot)(own, x, columns[2]) : none, none);
        if (out + 4 <= end)
            *(NAME(four) *)out += rest; /* zeros are added to the next row's */
        else
            for (size_t i = 0; i < n; i++)
                out[i] += rest[i];
        columns += n, out += n;
    }
}

/* Adds g.T x to the gradient of the non-zero weights of rows from `begin` to `end`, for at most TILE
 * tokens; 0, or -1 where the matrix isn't sound. */
LOOP int NAME(gradient)(const struct matrix *m, const float *x, const float *g, float *out,
                        size_t tokens, size_t begin, size_t end, float *room)
{
    float *block = room, *own = block + ROOM_BLOCK;
    struct piece p;
    NAME(turn)(g + begin, m->rows, own, TILE, tokens, TILE, end - begin);
    for (size_t b = 0; b * BLOCK < m->width; b++) {
        NAME(turn)(x + b * BLOCK, m->width, block, TILE, tokens, TILE, columns_of(m, b));
        for (int more = first(m, &p, b, begin, end); more; more = next(m, &p, end)) {
            if (more < 0)
                return -1;
            NAME(dots)(&p, block, own + (p.group - begin) * TILE, out + p.start);
        }
    }
    return 0;
}

#undef ROWS
#undef NAME
#undef JOIN
#undef JOIN_
