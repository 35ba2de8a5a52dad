#include "kernels/cpu/gemm.hpp"

#include <dnnl.h>
#include <omp.h>

#include <string>

#include "sherd/base/errors.hpp"

namespace sherd::kernels::cpu {
namespace {

char letter(Transpose transpose) { return transpose == Transpose::yes ? 'T' : 'N'; }

// The library asks OpenMP how many threads this thread may fork: with one it never starts a pool,
// and never picks a kernel or a split of k by the thread count.
void forbid_forking() {
  thread_local const bool once = [] {
    omp_set_num_threads(1);
    return true;
  }();
  static_cast<void>(once);
}

}  // namespace

void gemm(const Gemm& call) {
  forbid_forking();
  const dnnl_status_t status = dnnl_sgemm(
      letter(call.a.transpose), letter(call.b.transpose), call.m, call.n, call.k, call.alpha,
      call.a.data, call.a.stride, call.b.data, call.b.stride, call.beta, call.c, call.c_stride);
  if (status != dnnl_success) {
    throw DeviceError("matmul: got status " + std::to_string(status) + " from dnnl_sgemm for m " +
                      std::to_string(call.m) + ", n " + std::to_string(call.n) + ", k " +
                      std::to_string(call.k) + ", need 0");
  }
}

namespace {

// Kernels, and so bits, differ between instruction sets.
std::string isa_name(dnnl_cpu_isa_t isa) {
  switch (isa) {
    case dnnl_cpu_isa_sse41:
      return "SSE4.1";
    case dnnl_cpu_isa_avx:
      return "AVX";
    case dnnl_cpu_isa_avx2:
      return "AVX2";
    case dnnl_cpu_isa_avx512_core:
      return "AVX-512";
    default:
      return "ISA " + std::to_string(static_cast<int>(isa));
  }
}

}  // namespace

std::string_view gemm_library() {
  static const std::string name = [] {
    const dnnl_version_t* version = dnnl_version();
    return "oneDNN " + std::to_string(version->major) + '.' + std::to_string(version->minor) + '.' +
           std::to_string(version->patch) + " (" + isa_name(dnnl_get_effective_cpu_isa()) + ")";
  }();
  return name;
}

}  // namespace sherd::kernels::cpu
