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

/* --- between (tokens, features) and (features, tokens) --- */

/* Rows and columns of WIDE vectors change places: halves are interleaved until all are. */
PART void NAME(transpose)(NAME(wide) *v)
{
    NAME(places) low, high;
    for (int i = 0; i < WIDE; i++) {
        low[i] = i / 2 + i % 2 * WIDE;
        high[i] = low[i] + WIDE / 2;
    }
    for (int round = 1; round < WIDE; round *= 2) {
        NAME(wide) next[WIDE];
        for (int i = 0; i < WIDE / 2; i++) {
            next[2 * i] = __builtin_shuffle(v[i], v[i + WIDE / 2], low);
            next[2 * i + 1] = __builtin_shuffle(v[i], v[i + WIDE / 2], high);
        }
        memcpy(v, next, sizeof next);
    }
}

/* to[j * to_stride + i] = from[i * from_stride + j] for i < rows and j < columns, and 0 for i from
 * there up to `padded`. */
LOOP void NAME(turn)(const float *from, size_t from_stride, float *to, size_t to_stride,
                     size_t rows, size_t padded, size_t columns)
{
    size_t i = 0;
    for (; i + WIDE <= padded; i += WIDE) {
        size_t j = 0, some = rows < i ? 0 : rows - i < WIDE ? rows - i : WIDE;
        for (; j + WIDE <= columns; j += WIDE) {
            NAME(wide) v[WIDE] = {0};
            for (size_t k = 0; k < some; k++)
                memcpy(v + k, from + (i + k) * from_stride + j, sizeof *v);
            NAME(transpose)(v);
            for (int k = 0; k < WIDE; k++)
                memcpy(to + (j + k) * to_stride + i, v + k, sizeof *v);
        }
        for (; j < columns; j++)
            for (size_t k = 0; k < WIDE; k++)
                to[j * to_stride + i + k] = k < some ? from[(i + k) * from_stride + j] : 0.0f;
    }
    for (size_t j = 0; i < padded && j < columns; j++)
        for (size_t k = i; k < padded; k++)
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

/* Whether rows of a block have n weights, and those are in its columns. */
PART int NAME(sound)(const uint8_t *counts, size_t rows, const uint8_t *columns, size_t n,
                     size_t width)
{
    size_t sum = 0;
    uint8_t last = 0;
    for (size_t i = 0; i < rows; i++)
        sum += counts[i];
    if (sum != n)
        return 0;
    for (size_t i = 0; i < n; i++)
        last = columns[i] > last ? columns[i] : last;
    return !n || last < width;
}

/* --- the product --- */

/* Adds rows of a block times a tile to their sums: VECTORS of type `vector` for each row, in
 * WAYS sums, since a sum waits for the one before it. */
#define ROWS(name, vector, VECTORS, WAYS)                                                         \
    LOOP void NAME(name)(const float *x, float *sums, const float *values,                        \
                         const uint8_t *columns, const uint8_t *counts, size_t rows, int first)   \
    {                                                                                             \
        for (; rows; rows--, sums += VECTORS * sizeof(vector) / sizeof(float)) {                  \
            vector sum[WAYS][VECTORS] = {0}, *at = (vector *)sums;                                \
            for (int i = 0; !first && i < VECTORS; i++)                                           \
                sum[0][i] = at[i];                                                                \
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
#if WIDE == 4
ROWS(rows16, NAME(wide), 4, 1)
ROWS(rows64, NAME(wide), 16, 1)
#elif WIDE == 8
ROWS(rows16, NAME(wide), 2, 2)
ROWS(rows64, NAME(wide), 8, 1)
#else
ROWS(rows16, NAME(wide), 1, 4)
ROWS(rows64, NAME(wide), 4, 1)
#endif

/* Rows from `begin` to `end`, which begin at a group, for at most TILE tokens; 0, or -1 where the
 * matrix isn't sound. */
LOOP int NAME(tile)(const struct matrix *m, const float *x, float *y, size_t tokens, size_t begin,
                    size_t end, float *room)
{
    size_t tile = tokens <= 4 ? 4 : tokens <= 16 ? 16 : TILE;
    float *block = room, *values = block + ROOM_BLOCK, *sums = values + ROOM_VALUES;
    for (size_t b = 0; b * BLOCK < m->width; b++) {
        size_t width = m->width - b * BLOCK < BLOCK ? m->width - b * BLOCK : BLOCK;
        NAME(turn)(x + b * BLOCK, m->width, block, tile, tokens, tile, width);
        for (size_t row = begin; row < end; row += GROUP) {
            const int64_t *start = m->starts + b * m->groups + row / GROUP;
            size_t rows = end - row < GROUP ? end - row : GROUP, n = start[1] - start[0];
            const uint8_t *columns = m->columns + *start, *counts = m->counts + b * m->rows + row;
            if (!NAME(sound)(counts, rows, columns, n, width))
                return -1;
            const float *floats = NAME(floats)(m, *start, n, values);
            (tile == 4 ? NAME(rows4) : tile == 16 ? NAME(rows16) : NAME(rows64))(
                block, sums + (row - begin) * tile, floats, columns, counts, rows, !b);
        }
    }
    for (size_t row = begin; row < end; row++) {
        float scale = m->scales ? m->scales[row] : 1.0f, bias = m->bias ? m->bias[row] : 0.0f;
        float *sum = sums + (row - begin) * tile;
        for (size_t token = 0; token < tile; token++)
            sum[token] = sum[token] * scale + bias;
    }
    NAME(turn)(sums, tile, y + begin, m->rows, end - begin, end - begin, tokens);
    return 0;
}

#undef ROWS
#undef NAME
#undef JOIN
#undef JOIN_
