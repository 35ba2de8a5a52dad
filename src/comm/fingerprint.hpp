#pragma once
// What must be equal on all ranks of a group for a call to make sense.
#include <string>
#include <string_view>

#include "sherd/comm/communicator.hpp"
#include "sherd/comm/control_block.hpp"

namespace sherd::comm {

struct Call {
  Verb verb = Verb::barrier;
  DType type = DType::u8;
  Bytes bytes = 0;           // of one rank's contribution
  Bytes offset = 0;          // in the arena, of what peers read
  std::uint64_t detail = 0;  // root, in place, offset of the second operand: by verb
  Label label;
};

/// Fills the fingerprint and label of `record`.
void write_call(MemberRecord& record, const Call& call) noexcept;
[[nodiscard]] bool same_call(const MemberRecord& a, const MemberRecord& b) noexcept;

/// `all_gather "gather bucket 3"`.
[[nodiscard]] std::string named_call(const MemberRecord& record);
/// The same and every value that has to agree.
[[nodiscard]] std::string full_call(const MemberRecord& record);

/// `text` with anything that is no printable ASCII replaced: a crashed rank may have scribbled.
[[nodiscard]] std::string printable(std::string_view text);

}  // namespace sherd::comm
