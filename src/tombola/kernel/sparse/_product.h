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

/* How many weights a piece has; -1 where they, or the places of its rows and weights, can't be. */
PART int64_t NAME(count)(const uint8_t *counts, const uint8_t *order, size_t rows,
                         const uint8_t *columns, int64_t most, size_t group, size_t width)
{
    int64_t n = 0;
    uint8_t last_row = 0, last_column = 0;
    for (size_t i = 0; i < rows; i++) {
        n += counts[i];
        last_row = order[i] > last_row ? order[i] : last_row;
    }
    if (n > most || last_row >= group || n > BLOCK * PIECE)
        return -1;
    for (int64_t i = 0; i < n; i++)
        last_column = columns[i] > last_column ? columns[i] : last_column;
    return last_column < width ? n : -1;
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
            vector sum[WAYS][VECTORS] = {0}, *at = (vector *)sums + (size_t)*order++ * VECTORS;   \
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

/* Adds a group of rows of block b to their sums; 0, or -1 where the matrix isn't sound. */
PART int NAME(group)(const struct matrix *m, const float *x, size_t b, size_t row, size_t rows,
                     size_t tile, float *sums, float *room)
{
    const int64_t *starts = m->starts + b * m->groups + row / GROUP;
    const uint8_t *order = m->order + b * m->rows + row, *counts = m->counts + b * m->rows + row;
    size_t width = m->width - b * BLOCK;
    int64_t start = starts[0];
    for (size_t i = 0; i < rows; i += PIECE) {
        size_t some = rows - i < PIECE ? rows - i : PIECE;
        const uint8_t *columns = m->columns + start;
        int64_t n = NAME(count)(counts + i, order + i, some, columns, starts[1] - start, rows, width);
        if (n < 0)
            return -1;
        const float *values = NAME(floats)(m, start, n, room);
        NAME(rows)(tile)(x, sums, values, columns, order + i, counts + i, some, !b);
        start += n;
    }
    return start == starts[1] ? 0 : -1;
}

/* Rows from `begin` to `end`, which begin at a group, for at most TILE tokens; 0, or -1 where the
 * matrix isn't sound. */
LOOP int NAME(tile)(const struct matrix *m, const float *x, float *y, size_t tokens, size_t begin,
                    size_t end, float *room)
{
    size_t tile = tokens <= 4 ? 4 : (tokens + 15) / 16 * 16;
    float *block = room, *values = block + ROOM_BLOCK, *sums = values + ROOM_VALUES;
    for (size_t b = 0; b * BLOCK < m->width; b++) {
        size_t width = m->width - b * BLOCK < BLOCK ? m->width - b * BLOCK : BLOCK;
        NAME(turn)(x + b * BLOCK, m->width, block, tile, tokens, tile, width);
        for (size_t row = begin; row < end; row += GROUP)
            if (NAME(group)(m, block, b, row, end - row < GROUP ? end - row : GROUP, tile,
                            sums + (row - begin) * tile, values))
                return -1;
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
