#include "sherd/kernels/block8.hpp"

#include "kernels/checks.hpp"
#include "kernels/cpu/block8.hpp"
#include "sherd/kernels/interface.hpp"

namespace sherd::kernels {
namespace {

bool are_blocks(const View& view, std::int64_t numel) {
  return view.type == DType::q8 && numel % static_cast<std::int64_t>(q8_elements) == 0 &&
         reinterpret_cast<std::uintptr_t>(view.data) % alignof(float) == 0 && holds(view, numel);
}

}  // namespace

void encode_blocks(View values, View blocks, StreamRef stream) {
  expects(!on_device(stream), "encode_blocks: got a device's stream, need the CPU's");
  expects(values.type == DType::f32 && holds(values, values.numel()) &&
              are_blocks(blocks, values.numel()),
          "encode_blocks: got views that differ in size or type, need fp32 and whole blocks of q8");
  cpu::encode_blocks(values, blocks, stream.workers());
}

void decode_blocks(View blocks, View out, StreamRef stream) {
  expects(is_float(out) && holds(out, out.numel()) && are_blocks(blocks, out.numel()),
          "decode_blocks: got views that differ in size or type, need whole blocks of q8 and fp32, "
          "bf16 or fp16");
  if (on_device(stream)) return twin(stream).decode_blocks(blocks, out, stream);
  cpu::decode_blocks(blocks, out, stream.workers());
}

}  // namespace sherd::kernels
