#pragma once
// Products by cuBLASLt: its handle, and the plans of one queue.
#include <cublasLt.h>

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "cuda/kernels/matmul_layout.hpp"

namespace sherd::cuda {

/// Everything the choice of an algorithm may depend on.
struct ProductKey {
  ColumnProduct product{};
  DType operands = DType::f32, out = DType::f32;
  Tail tail = Tail::none;
  std::int64_t aux_leading = 0;
  std::uint32_t align_a = 16, align_b = 16, align_d = 16, align_bias = 16;
  auto operator<=>(const ProductKey&) const = default;
};
[[nodiscard]] ProductKey product_key(const MatmulArgs& args);

/// Descriptors and the chosen algorithm of one key, in place: the library says they need no free.
struct ProductPlan {
  cublasLtMatmulDescOpaque_t call{};
  cublasLtMatrixLayoutOpaque_t a{}, b{}, d{};
  cublasLtMatmulAlgo_t algorithm{};
};

/// Fills in all of the plan but its algorithm.
void describe(const ProductKey& key, const MatmulArgs& args, ProductPlan& plan);

/// What to ask the library for: sums of split products by one of `schemes`, `most` answers.
struct Wish {
  const ProductKey& key;
  std::uint32_t schemes = 0;
  int most = 1;
};
using Proposals = std::vector<cublasLtMatmulAlgo_t>;
/// The library's proposals that fit the workspace, likeliest first.
[[nodiscard]] Proposals propose(cublasLtHandle_t handle, ProductPlan& plan, const Wish& wish);

/// One queue's plans. Used by one thread at a time.
///
/// **Errors** DeviceError with the library's status.
class Products {
 public:
  Products();
  ~Products();
  Products(const Products&) = delete;
  Products& operator=(const Products&) = delete;

  /// False, and nothing done, if the library has no algorithm for a call of this shape. Its
  /// workspace lies in the first device_scratch::matmul_workspace bytes of args.scratch.
  bool multiply(const MatmulArgs& args, cudaStream_t stream);

  /// For benches alone: seconds of the fastest proposal, 0 without one. Waits for the device.
  [[nodiscard]] double fastest(const MatmulArgs& args, cudaStream_t stream, int rounds);

 private:
  ProductPlan* plan(const MatmulArgs& args);

  cublasLtHandle_t handle_ = nullptr;
  std::map<ProductKey, std::unique_ptr<ProductPlan>> plans_;  // null: no algorithm
};

/// "cuBLASLt 13.1.0".
[[nodiscard]] std::string product_library();

}  // namespace sherd::cuda
