// What the library can do at best: each of its proposals, timed on the device. For benches alone.
#include <algorithm>

#include "cuda/device/queue.hpp"
#include "cuda/device/timed_event.hpp"
#include "cuda/kernels/matmul_products.hpp"
#include "cuda/kernels/twins.hpp"
#include "cuda/kernels/workspace.hpp"
#include "sherd/kernels/device_scratch.hpp"

namespace sherd::cuda {
namespace {

constexpr Bytes room = workspace_size(kernels::device_scratch::matmul_workspace);
constexpr int most_proposals = 64;
constexpr std::size_t finalists = 4;
constexpr int launches = 8;  // between two events, so that those cost nothing

/// One bare product that any of its proposals can make.
struct Trial {
  cublasLtHandle_t handle;
  const MatmulArgs& args;
  ProductPlan plan{};

  // A proposal may turn out not to run; that is no failure of ours.
  [[nodiscard]] bool launch(const cublasLtMatmulAlgo_t& algorithm, cudaStream_t stream) {
    const float one = 1, before = args.mode == Write::add ? 1.0f : 0.0f;
    return cublasLtMatmul(handle, &plan.call, &one, args.b.data, &plan.a, args.a.data, &plan.b,
                          &before, args.out.data, &plan.d, args.out.data, &plan.d, &algorithm,
                          workspace_in(args.scratch), room, stream) == CUBLAS_STATUS_SUCCESS;
  }
  // Of one launch among `count` back to back; 0 when it does not run.
  [[nodiscard]] double seconds(const cublasLtMatmulAlgo_t& algorithm, cudaStream_t stream,
                               int count) {
    TimedEvent start, end;
    start.record(stream);
    for (int i = 0; i < count; ++i) {
      if (!launch(algorithm, stream)) return 0;
    }
    end.record(stream);
    return end.seconds_since(start) / count;
  }
};

double median(std::vector<double> of) {
  std::sort(of.begin(), of.end());
  return of[of.size() / 2];
}

}  // namespace

double Products::fastest(const MatmulArgs& args, cudaStream_t stream, int rounds) {
  const ProductKey key = product_key(args);
  Trial trial{handle_, args};
  describe(key, args, trial.plan);
  const Proposals all =
      propose(handle_, trial.plan, {key, CUBLASLT_REDUCTION_SCHEME_MASK, most_proposals});
  std::vector<std::pair<double, const cublasLtMatmulAlgo_t*>> order;
  for (const cublasLtMatmulAlgo_t& algorithm : all) {
    if (trial.seconds(algorithm, stream, 1) == 0) continue;  // the first launch loads the kernel
    const double once = trial.seconds(algorithm, stream, 2);
    if (once > 0) order.emplace_back(once, &algorithm);
  }
  std::sort(order.begin(), order.end());
  order.resize(std::min(order.size(), finalists));
  double best = 0;
  for (const auto& candidate : order) {
    std::vector<double> seconds;
    for (int round = 0; round < std::max(rounds, 1); ++round)
      seconds.push_back(trial.seconds(*candidate.second, stream, launches));
    const double middle = median(std::move(seconds));
    if (best == 0 || middle < best) best = middle;
  }
  return best;
}

double best_product(const MatmulArgs& args, StreamRef stream, int rounds) {
  MatmulArgs bare = args;
  bare.bias = bare.before_gelu = bare.gelu_of = {};
  bare.round = nullptr;
  if (!fits_library(bare)) return 0;
  const cudaStream_t on = stream_of(stream);  // first: a handle is of the thread's device
  std::shared_ptr<void>& kept = stream.queue().products;
  if (kept == nullptr) kept = std::make_shared<Products>();
  return static_cast<Products*>(kept.get())->fastest(bare, on, rounds);
}

}  // namespace sherd::cuda
