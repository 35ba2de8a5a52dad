#include "cuda/kernels/matmul_products.hpp"

#include <algorithm>
#include <optional>

#include "cuda/kernels/workspace.hpp"
#include "sherd/base/errors.hpp"
#include "sherd/kernels/device_scratch.hpp"

namespace sherd::cuda {
namespace {

void check(cublasStatus_t status, const char* call) {
  if (status == CUBLAS_STATUS_SUCCESS) return;
  throw DeviceError(std::string("cuBLASLt: ") + call + ": " + cublasLtGetStatusString(status));
}

constexpr Bytes room = workspace_size(kernels::device_scratch::matmul_workspace);

cudaDataType_t data_type(DType type) {
  if (type == DType::f32) return CUDA_R_32F;
  return type == DType::bf16 ? CUDA_R_16BF : CUDA_R_16F;
}
cublasOperation_t operation(Transpose transpose) {
  return transpose == Transpose::yes ? CUBLAS_OP_T : CUBLAS_OP_N;
}
cublasLtEpilogue_t epilogue(Tail tail) {
  if (tail == Tail::gelu_slope) return CUBLASLT_EPILOGUE_DGELU;
  return tail == Tail::bias ? CUBLASLT_EPILOGUE_BIAS : CUBLASLT_EPILOGUE_DEFAULT;
}

template <class T>
void set(ProductPlan& plan, cublasLtMatmulDescAttributes_t attribute, const T& value) {
  check(cublasLtMatmulDescSetAttribute(&plan.call, attribute, &value, sizeof value),
        "cublasLtMatmulDescSetAttribute");
}
void lay_out(cublasLtMatrixLayoutOpaque_t& layout, DType type, const StoredMatrix& stored) {
  check(cublasLtMatrixLayoutInit(&layout, data_type(type), static_cast<std::uint64_t>(stored.rows),
                                 static_cast<std::uint64_t>(stored.cols), stored.leading),
        "cublasLtMatrixLayoutInit");
}

// Addresses of one call; the heuristic reads their alignment too.
void point(ProductPlan& plan, const MatmulArgs& args) {
  if (args.bias) {
    set(plan, CUBLASLT_MATMUL_DESC_BIAS_POINTER, static_cast<const void*>(args.bias.data));
  }
  if (args.gelu_of) {
    set(plan, CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_POINTER,
        static_cast<const void*>(args.gelu_of.data));
  }
}

}  // namespace

void describe(const ProductKey& key, const MatmulArgs& args, ProductPlan& plan) {
  check(cublasLtMatmulDescInit(&plan.call, CUBLAS_COMPUTE_32F, CUDA_R_32F),
        "cublasLtMatmulDescInit");
  const ColumnProduct& product = key.product;
  set(plan, CUBLASLT_MATMUL_DESC_TRANSA, operation(product.a.transpose));
  set(plan, CUBLASLT_MATMUL_DESC_TRANSB, operation(product.b.transpose));
  set(plan, CUBLASLT_MATMUL_DESC_EPILOGUE, epilogue(key.tail));
  // A bias and what GELU took are of the result's type, which is what the library assumes.
  if (key.tail == Tail::gelu_slope) {
    set(plan, CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_LD, key.aux_leading);
  }
  point(plan, args);
  lay_out(plan.a, key.operands, product.a);
  lay_out(plan.b, key.operands, product.b);
  lay_out(plan.d, key.out, product.d);
}

namespace {

// Sums of split products lie in fp32 in the workspace and are added in a second pass, in order; the
// two other schemes round partial sums to the output's type.
constexpr std::uint32_t sum_schemes = CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE;

cublasLtMatmulPreferenceOpaque_t preference(const ProductKey& key, std::uint32_t schemes) {
  cublasLtMatmulPreferenceOpaque_t wanted{};
  check(cublasLtMatmulPreferenceInit(&wanted), "cublasLtMatmulPreferenceInit");
  const auto prefer = [&](cublasLtMatmulPreferenceAttributes_t attribute, auto value) {
    check(cublasLtMatmulPreferenceSetAttribute(&wanted, attribute, &value, sizeof value),
          "cublasLtMatmulPreferenceSetAttribute");
  };
  prefer(CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, std::uint64_t{room});
  prefer(CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, schemes);
  prefer(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, key.align_a);
  prefer(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, key.align_b);
  prefer(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, key.align_d);
  prefer(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, key.align_d);
  return wanted;
}

bool in_order(const cublasLtMatmulAlgo_t& algorithm) {
  std::uint32_t scheme = 0;
  std::size_t written = 0;
  check(cublasLtMatmulAlgoConfigGetAttribute(&algorithm, CUBLASLT_ALGO_CONFIG_REDUCTION_SCHEME,
                                             &scheme, sizeof scheme, &written),
        "cublasLtMatmulAlgoConfigGetAttribute");
  return (scheme & ~sum_schemes) == 0;
}

// The library's first choice that fits and sums in a fixed order.
std::optional<cublasLtMatmulAlgo_t> choose(cublasLtHandle_t handle, ProductPlan& plan,
                                           const ProductKey& key) {
  const Proposals all = propose(handle, plan, {key, sum_schemes, 8});
  const auto found = std::find_if(all.begin(), all.end(), in_order);
  return found == all.end() ? std::nullopt : std::optional(*found);
}

}  // namespace

Proposals propose(cublasLtHandle_t handle, ProductPlan& plan, const Wish& wish) {
  cublasLtMatmulPreferenceOpaque_t wanted = preference(wish.key, wish.schemes);
  std::vector<cublasLtMatmulHeuristicResult_t> results(static_cast<std::size_t>(wish.most));
  int count = 0;
  const cublasStatus_t status =
      cublasLtMatmulAlgoGetHeuristic(handle, &plan.call, &plan.a, &plan.b, &plan.d, &plan.d,
                                     &wanted, wish.most, results.data(), &count);
  if (status == CUBLAS_STATUS_NOT_SUPPORTED || status == CUBLAS_STATUS_INVALID_VALUE) return {};
  check(status, "cublasLtMatmulAlgoGetHeuristic");
  results.resize(static_cast<std::size_t>(count));
  Proposals fitting;
  for (const cublasLtMatmulHeuristicResult_t& result : results) {
    if (result.state == CUBLAS_STATUS_SUCCESS && result.workspaceSize <= room)
      fitting.push_back(result.algo);
  }
  return fitting;
}

ProductKey product_key(const MatmulArgs& args) {
  return {.product = column_product(args),
          .operands = args.a.type,
          .out = args.out.type,
          .tail = tail_of(args),
          .aux_leading = args.gelu_of ? args.gelu_of.row_pitch() : 0,
          .align_a = alignment_of(args.b.data),
          .align_b = alignment_of(args.a.data),
          .align_d = alignment_of(args.out.data),
          .align_bias = args.bias ? alignment_of(args.bias.data) : 16};
}

Products::Products() { check(cublasLtCreate(&handle_), "cublasLtCreate"); }
Products::~Products() { (void)cublasLtDestroy(handle_); }

ProductPlan* Products::plan(const MatmulArgs& args) {
  const ProductKey key = product_key(args);
  const auto known = plans_.find(key);
  if (known != plans_.end()) return known->second.get();
  auto made = std::make_unique<ProductPlan>();
  describe(key, args, *made);
  if (const auto algorithm = choose(handle_, *made, key)) {
    made->algorithm = *algorithm;
  } else {
    made.reset();
  }
  return plans_.emplace(key, std::move(made)).first->second.get();
}

bool Products::multiply(const MatmulArgs& args, cudaStream_t stream) {
  if (!fits_library(args)) return false;
  ProductPlan* call = plan(args);
  if (call == nullptr) return false;
  point(*call, args);
  const float one = 1, before = args.mode == Write::add ? 1.0f : 0.0f;
  check(cublasLtMatmul(handle_, &call->call, &one, args.b.data, &call->a, args.a.data, &call->b,
                       &before, args.out.data, &call->d, args.out.data, &call->d, &call->algorithm,
                       workspace_in(args.scratch), room, stream),
        "cublasLtMatmul");
  return true;
}

std::string product_library() {
  const std::size_t version = cublasLtGetVersion();  // 130100
  return "cuBLASLt " + std::to_string(version / 10000) + "." + std::to_string(version / 100 % 100) +
         "." + std::to_string(version % 100);
}

}  // namespace sherd::cuda
