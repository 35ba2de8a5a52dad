#include "sherd/kernels/cross_entropy.hpp"

#include "kernels/checks.hpp"
#include "kernels/cpu/cross_entropy.hpp"
#include "sherd/kernels/interface.hpp"

namespace sherd::kernels {

void cross_entropy(const CrossEntropyArgs& args, StreamRef stream) {
  const auto [rows, vocabulary] = args.logits.shape;
  expects(args.logits.type == DType::f32 && holds(args.logits, rows * vocabulary) &&
              (on_device(stream) || args.logits.pitch == 0),
          "cross_entropy: got logits of another type or none, need fp32");
  expects(args.labels.type == DType::i32 && holds(args.labels, rows),
          "cross_entropy: got labels of another size or type, need [rows, 1] i32");
  expects(!args.d_logits || (on_device(stream) && is_float(args.d_logits) &&
                             args.d_logits.shape == args.logits.shape),
          "cross_entropy: got d_logits of another size or on the CPU, need [rows, vocabulary]");
  expects(args.nominal > 0, "cross_entropy: got a nominal count of 0 or less, need more");
  if (on_device(stream))
    return twin(stream).cross_entropy(args, stream);  // labels: as data checked
  for (const std::int32_t label : args.labels.span<const std::int32_t>()) {
    expects(label == ignored_label || (label >= 0 && label < vocabulary),
            "cross_entropy: got a label outside the vocabulary, need 0 <= label < vocabulary, or "
            "the ignored label");
  }
  cpu::cross_entropy(args, stream.workers());
}

void squared_error(const SquaredErrorArgs& args, StreamRef stream) {
  const std::int64_t numel = args.out.numel();
  expects(args.out.type == DType::f32 && args.target.type == DType::f32 &&
              args.d_out.type == DType::f32,
          "squared_error: got another type, need fp32");
  expects(holds(args.out, numel) && holds(args.target, numel) && absent_or_holds(args.d_out, numel),
          "squared_error: got views that differ in size or are absent, need equal ones");
  expects(!args.d_out || args.scale != nullptr,
          "squared_error: got a gradient without a loss scale, need both");
  expects(args.nominal > 0, "squared_error: got a nominal count of 0 or less, need more");
  if (on_device(stream)) return twin(stream).squared_error(args, stream);
  cpu::squared_error(args, stream.workers());
}

}  // namespace sherd::kernels
