// Greedy suppression by one block: take the best that remains, tell the rest, again.
#pragma once

#define GREEDY_THREADS 256
#define GREEDY_BLOCKS 4  // on a multiprocessor; without it compilers spill to fit six

// Lower scores come later, equal ones in their own order; NaN comes last of all, as in a sort.
struct Candidate {
    double score;
    int index;  // -1: none
};

__device__ __forceinline__ Candidate earlier(Candidate a, Candidate b) {
    if (a.index < 0) return b;
    if (b.index < 0) return a;
    bool a_is_nan = a.score != a.score, b_is_nan = b.score != b.score;
    if (a_is_nan != b_is_nan) return a_is_nan ? b : a;
    if (a.score != b.score && !a_is_nan) return a.score > b.score ? a : b;
    return a.index < b.index ? a : b;
}

// The best of those who remain, the same for all threads of the block; index -1 if there is none.
// Ends with a barrier that all have read the answer behind, so that it may be called again.
template <class Score>
__device__ __forceinline__ Candidate best_of_block(const Score* scores, const int* gone, int n) {
    __shared__ Candidate of_warp[GREEDY_THREADS / 32];
    Candidate best = {0.0, -1};
    for (int i = threadIdx.x; i < n; i += GREEDY_THREADS)
        if (!gone[i]) best = earlier(best, {scores[i], i});
    for (int distance = 16; distance > 0; distance /= 2) {
        Candidate other;
        other.score = __shfl_xor_sync(0xffffffffu, best.score, distance);
        other.index = __shfl_xor_sync(0xffffffffu, best.index, distance);
        best = earlier(best, other);
    }
    if (threadIdx.x % 32 == 0) of_warp[threadIdx.x / 32] = best;
    __syncthreads();
    for (int i = 0; i < GREEDY_THREADS / 32; ++i) best = earlier(best, of_warp[i]);
    __syncthreads();
    return best;
}
