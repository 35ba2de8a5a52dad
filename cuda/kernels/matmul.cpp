#include "cuda/device/queue.hpp"
#include "cuda/kernels/matmul_fallback.hpp"
#include "cuda/kernels/matmul_products.hpp"
#include "cuda/kernels/twins.hpp"
#include "sherd/kernels/device_scratch.hpp"

namespace sherd::cuda {
namespace {

namespace room = kernels::device_scratch;

// By the library, if it can.
bool library_product(const MatmulArgs& args, StreamRef stream) {
  const cudaStream_t on = stream_of(stream);  // first: a handle is of the thread's device
  std::shared_ptr<void>& kept = stream.queue().products;
  if (kept == nullptr) kept = std::make_shared<Products>();
  return static_cast<Products*>(kept.get())->multiply(args, on);
}

// The product alone into fp32; one kernel of ours where the library has no algorithm.
void multiply(MatmulArgs args, const View& to, StreamRef stream) {
  args.out = to;
  args.bias = args.before_gelu = args.gelu_of = {};
  args.round = nullptr;
  if (!library_product(args, stream)) plain_product(args, stream);
}

// fp32 sums in out itself.
void in_place(const MatmulArgs& args, StreamRef stream) {
  multiply(args, args.out, stream);
  if (args.bias || args.before_gelu || args.gelu_of) {
    finish_product({args.out, &args, 0}, stream);
  }
}

// fp32 sums of some rows at a time in the scratch behind the library's.
void through_panels(const MatmulArgs& args, StreamRef stream) {
  const Shape shape = args.out.shape;
  const std::int64_t most = room::panel_rows(shape.rows, shape.cols);
  for (std::int64_t first = 0; first < shape.rows; first += most) {
    const std::int64_t count = std::min(most, shape.rows - first);
    const View sum{args.scratch.data + room::matmul_workspace, {count, shape.cols}, DType::f32};
    const MatmulArgs part = rows_of(args, first, count);
    MatmulArgs alone = part;
    alone.mode = Write::set;
    multiply(alone, sum, stream);
    finish_product({sum, &part, first}, stream);
  }
}

bool contiguous(const View& view) { return view.row_pitch() == view.shape.cols; }

}  // namespace

// A GELU of the result is never the library's: a lost activation is rebuilt by `gelu` from
// before_gelu, and must come out the same.
void matmul(const MatmulArgs& args, StreamRef stream) {
  MatmulArgs product = args;
  if (args.before_gelu) {
    product.out = args.before_gelu;
    product.before_gelu = {};
  }
  const bool apart = !args.before_gelu || (contiguous(args.before_gelu) && contiguous(args.out));
  if (apart && library_product(product, stream)) {
    if (args.before_gelu) gelu(args.before_gelu, args.out, stream);
  } else if (args.out.type == DType::f32) {
    in_place(args, stream);
  } else {
    through_panels(args, stream);
  }
}

}  // namespace sherd::cuda
