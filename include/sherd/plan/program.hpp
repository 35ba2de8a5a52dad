#pragma once
// The optimizer step as data. Nothing here allocates, waits or decides.
#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "sherd/base/dtype.hpp"
#include "sherd/base/units.hpp"
#include "sherd/device/lane.hpp"
#include "sherd/memory/tier.hpp"
#include "sherd/shard/layout.hpp"

namespace sherd::plan {

using device::Lane;
using memory::Tier;
using memory::Use;

struct Buffer {
  std::string name;  // "x1", "p.full[2]#4": what the plan table, the trace and every error say
  Tier tier = Tier::device;
  Use use = Use::activations;
  DType type = DType::f32;
  Bytes size = 0;  // exact; offsets are rounded to 256, sizes never
  bool persistent =
      false;  // one offset for the run and in every program; else it lives first use to last use
};
enum class BufferId : std::uint32_t {};

enum class Mode : std::uint8_t { read, write, update };  // update: `+=`
/// What a step takes a buffer for; with `index` it says which argument of the call it is.
enum class Role : std::uint8_t {
  inputs,
  labels,
  in,
  out,
  d_in,
  d_out,
  scratch,
  param,
  save,
  grad,  // blocks
  shard,
  full,  // gather, reduce
  control,
  report,
  vote_local,
  vote_global,  // the step
  inputs_host,
  labels_host,
  fed_host,
  verdict_host,  // pinned mirrors, where the step runs on a device
  master,
  moment1,
  moment2,
  stored,  // update
  from,
  to,
  frame  // fetch, evict, widen: a copy; what stands around a record's payload
};
[[nodiscard]] std::string_view name_of(Role role);

struct Access {
  BufferId buffer{};
  Mode mode = Mode::read;
  Bytes first = 0, size = 0;
  Role role = Role::in;
  std::uint16_t index = 0;
};

// forward, loss, backward name a block; gather, reduce, norm, update, widen a bucket; feed, vote,
// decide the step. There is no `release`: a buffer dies after its last access. fetch copies towards
// the compute device, evict away from it, one tier further; widen turns 8-bit blocks into
// parameters.
enum class Verb : std::uint8_t {
  feed,
  forward,
  loss,
  backward,
  gather,
  reduce,
  norm,
  vote,
  decide,
  update,
  fetch,
  evict,
  widen
};
inline constexpr int verbs = 13;
[[nodiscard]] std::string_view name_of(Verb verb);
enum class Group : std::uint8_t {
  none,
  data
};  // whom a collective spans; tensor, pipeline, expert later

struct Step {
  Verb verb = Verb::feed;
  Lane lane = Lane::compute;
  Group group = Group::none;
  std::uint16_t subject = 0;     // block or bucket
  std::uint32_t tile = 0;        // part of a bucket for update, fetch, evict
  std::vector<Access> accesses;  // all of them; an undeclared one is caught by the ASan build
  double work = 0;               // FLOPs on compute, bytes elsewhere: for the simulator only
  shard::Range range{};          // of update, fetch, evict: the tile's elements, in the bucket
};

// Steps [first, last) run `repeat` times. Training: micro.first, micro.middle x (grad_accum - 2),
// micro.last, update.
/// A phase's place in the step: the only micro-step, the first, one between, the last; or what
/// follows them.
enum class Turn : std::uint8_t { only, first, middle, last, after };
[[nodiscard]] constexpr bool starts(Turn turn) { return turn == Turn::only || turn == Turn::first; }
[[nodiscard]] constexpr bool ends(Turn turn) { return turn == Turn::only || turn == Turn::last; }

struct Phase {
  std::string name;
  std::uint32_t first = 0, last = 0, repeat = 1;
  Lane pace = Lane::compute;  // a buffer last used on another lane outlives it by `window` steps of
                              // this lane
  Turn turn = Turn::only;
};
struct Program {
  std::string name;  // "train", "evaluate"
  std::vector<Buffer> buffers;
  std::vector<Step> steps;  // issue order, the same on every rank of a group
  std::vector<Phase> phases;

  [[nodiscard]] const Buffer& at(BufferId id) const {
    return buffers[static_cast<std::size_t>(id)];
  }
  [[nodiscard]] Buffer& at(BufferId id) { return buffers[static_cast<std::size_t>(id)]; }
};

[[nodiscard]] constexpr std::size_t index_of(BufferId id) { return static_cast<std::size_t>(id); }

/// The buffer of that name, such as "p.full[3]". **Errors** UsageError if there is none.
[[nodiscard]] BufferId find_buffer(const Program& program, const std::string& name);
[[nodiscard]] bool has_buffer(const Program& program, const std::string& name);
[[nodiscard]] inline std::string bucket_name(const char* kind, std::size_t bucket) {
  return std::string(kind) + "[" + std::to_string(bucket) + "]";
}

}  // namespace sherd::plan
