#include <dnnl.h>
#include <omp.h>

#include <algorithm>
#include <array>
#include <string>

#include "bench/buffers.hpp"
#include "sherd/base/errors.hpp"
#include "sherd/bench/bounds.hpp"

namespace sherd::bench {
namespace {

// Our own products tell the library to stay on one thread; this puts that back afterwards.
class LibraryThreads {
 public:
  explicit LibraryThreads(int threads) : before_(omp_get_max_threads()) {
    omp_set_num_threads(threads);
  }
  ~LibraryThreads() { omp_set_num_threads(before_); }
  LibraryThreads(const LibraryThreads&) = delete;
  LibraryThreads& operator=(const LibraryThreads&) = delete;

 private:
  int before_;
};

}  // namespace

void library_gemm(const GemmShape& shape, const float* a, const float* b, float* out, int threads) {
  const LibraryThreads scope(threads);
  const dnnl_status_t status =
      dnnl_sgemm(shape.transpose_a ? 'T' : 'N', shape.transpose_b ? 'T' : 'N', shape.m, shape.n,
                 shape.k, 1, a, shape.transpose_a ? shape.m : shape.k, b,
                 shape.transpose_b ? shape.k : shape.n, 0, out, shape.n);
  if (status != dnnl_success) {
    throw DeviceError("library_gemm: got status " + std::to_string(status) + ", need 0");
  }
}

Timing time_gemm(const GemmShape& shape, int threads, int rounds) {
  Buffers buffers(operand_bytes(shape));
  const View a = buffers.take({shape.m, shape.k}, DType::f32);
  const View b = buffers.take({shape.k, shape.n}, DType::f32);
  const View out = buffers.take({shape.m, shape.n}, DType::f32);
  std::ranges::fill(a.span<float>(), 0.5f);
  std::ranges::fill(b.span<float>(), 0.25f);
  const std::array passes = {
      Pass([&] { library_gemm(shape, a.as<float>(), b.as<float>(), out.as<float>(), threads); })};
  return alternate(rounds, passes).front();
}

double gemm_seconds(std::span<const GemmShape> shapes, int threads, int rounds) {
  double seconds = 0;
  for (const GemmShape& shape : shapes) {
    seconds += static_cast<double>(shape.times) * time_gemm(shape, threads, rounds).median;
  }
  return seconds;
}

}  // namespace sherd::bench
