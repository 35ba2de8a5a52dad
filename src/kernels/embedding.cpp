#include "sherd/kernels/embedding.hpp"

#include "kernels/checks.hpp"
#include "kernels/cpu/embedding.hpp"
#include "sherd/kernels/device_scratch.hpp"
#include "sherd/kernels/interface.hpp"

namespace sherd::kernels {

void embedding(const EmbeddingArgs& args, StreamRef stream) {
  const std::int64_t count = args.tokens.numel(), width = args.table.shape.cols;
  expects(args.tokens.type == DType::i32 && holds(args.tokens, count),
          "embedding: got tokens of another type or none, need i32");
  expects(is_float(args.table) && is_float(args.positions) && is_float(args.out),
          "embedding: got an integer view, need fp32, bf16 or fp16");
  expects(holds(args.table, args.table.numel()) && holds(args.out, count * width),
          "embedding: got out of another size, need [tokens, width of the table]");
  expects(!args.positions || (args.positions.shape.cols == width &&
                              args.positions.shape.rows >= args.tokens.shape.cols),
          "embedding: got positions of another size, need [context >= length, width]");
  if (on_device(stream)) return twin(stream).embedding(args, stream);
  cpu::embedding(args, stream.workers());
}

Bytes embedding_backward_scratch(Shape tokens, std::int64_t vocabulary, std::int64_t /*width*/,
                                 const Target& target) {
  if (target.kind == DeviceKind::cuda) return device_scratch::embedding_backward(tokens.numel());
  return static_cast<Bytes>(vocabulary + 1 + tokens.numel()) * sizeof(std::int32_t);
}

void embedding_backward(const EmbeddingBackwardArgs& args, StreamRef stream) {
  const std::int64_t count = args.tokens.numel(), width = args.d_out.shape.cols;
  expects(args.tokens.type == DType::i32 && holds(args.tokens, count),
          "embedding_backward: got tokens of another type or none, need i32");
  expects(is_float(args.d_out) && holds(args.d_out, count * width),
          "embedding_backward: got d_out of another size or type, need [tokens, width] floats");
  const View &table = args.d_table.to, &positions = args.d_positions.to;
  expects(!table || (is_grad(table) && table.shape.cols == width),
          "embedding_backward: got d_table of another width or type, need fp32 or bf16");
  expects(!positions || (is_grad(positions) && positions.shape.cols == width &&
                         positions.shape.rows >= args.tokens.shape.cols),
          "embedding_backward: got d_positions of another size or type, need [context >= length, "
          "width] fp32 or bf16");
  expects(!table || args.scratch.bytes() >= embedding_backward_scratch(args.tokens.shape,
                                                                       table.shape.rows, width,
                                                                       {.kind = stream.kind()}),
          "embedding_backward: got too little scratch, need embedding_backward_scratch bytes");
  if (on_device(stream)) return twin(stream).embedding_backward(args, stream);
  cpu::embedding_backward(args, stream.workers());
}

}  // namespace sherd::kernels
