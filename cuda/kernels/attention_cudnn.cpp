// The only file that includes cudnn-frontend: it takes most of a minute.
#include <cudnn_frontend.h>

#include <array>
#include <cmath>
#include <map>
#include <memory>
#include <unordered_map>
#include <utility>
#include <vector>

#include "cuda/device/queue.hpp"
#include "cuda/kernels/attention_library.hpp"
#include "cuda/kernels/workspace.hpp"
#include "sherd/base/errors.hpp"
#include "sherd/kernels/device_scratch.hpp"

namespace sherd::cuda {
namespace {

namespace fe = cudnn_frontend;
namespace fg = cudnn_frontend::graph;
namespace room = kernels::device_scratch;
using Graph = std::shared_ptr<fg::Graph>;
using Tensor = std::shared_ptr<fg::Tensor_attributes>;

enum Uid : std::int64_t {
  q_uid = 1,
  k_uid,
  v_uid,
  out_uid,
  lse_uid,
  d_out_uid,
  d_q_uid,
  d_k_uid,
  d_v_uid
};

// --- graphs -----------------------------------------------------------------------------------

/// One call of the library: some sequences, one type, one direction.
struct Key {
  HeadLayout at{};
  DType type = DType::bf16;
  Direction direction = Direction::forward;
  auto operator<=>(const Key&) const = default;
};

// Nodes copy the architecture when they are added; 0: the device's.
Graph empty_graph(DType type, int architecture) {
  auto graph = std::make_shared<fg::Graph>();
  if (architecture > 0) graph->set_sm_version(architecture);
  graph->set_io_data_type(type == DType::bf16 ? fe::DataType_t::BFLOAT16 : fe::DataType_t::HALF)
      .set_intermediate_data_type(fe::DataType_t::FLOAT)
      .set_compute_data_type(fe::DataType_t::FLOAT);
  return graph;
}

/// [sequences, heads, length, head_dim] where rows are `pitch` elements apart.
struct Heads {
  std::vector<std::int64_t> dim, stride;
};
Heads heads_of(const HeadLayout& at, std::int64_t heads, std::int64_t pitch) {
  return {{at.sequences, heads, at.length, at.head_dim},
          {at.length * pitch, at.head_dim, pitch, 1}};
}
Heads lse_of(const HeadLayout& at) {
  return {{at.sequences, at.heads, at.length, 1}, {at.heads * at.length, at.length, 1, 1}};
}
Tensor input(const Graph& graph, Uid uid, const Heads& heads) {
  return graph->tensor(
      fg::Tensor_attributes().set_uid(uid).set_dim(heads.dim).set_stride(heads.stride));
}
void output(const Tensor& tensor, Uid uid, const Heads& heads) {
  tensor->set_output(true).set_uid(uid).set_dim(heads.dim).set_stride(heads.stride);
}
float scale_of(const HeadLayout& at) { return 1 / std::sqrt(static_cast<float>(at.head_dim)); }

/// Query, key and value heads of packed rows.
struct Packed {
  Heads query, shared;
};
Packed packed(const HeadLayout& at) {
  return {heads_of(at, at.heads, at.qkv_width()), heads_of(at, at.kv_heads, at.qkv_width())};
}

// Query i sees keys 0 … i. The library's statistics are max + ln(sum), our lse.
Graph forward_graph(const Key& key, int architecture) {
  const HeadLayout& at = key.at;
  Graph graph = empty_graph(key.type, architecture);
  const Packed in = packed(at);
  auto [out, stats] = graph->sdpa(input(graph, q_uid, in.query), input(graph, k_uid, in.shared),
                                  input(graph, v_uid, in.shared),
                                  fg::SDPA_attributes()
                                      .set_name("attention")
                                      .set_generate_stats(true)
                                      .set_attn_scale(scale_of(at))
                                      .set_diagonal_alignment(fe::DiagonalAlignment_t::TOP_LEFT)
                                      .set_diagonal_band_right_bound(0));
  output(out, out_uid, heads_of(at, at.heads, at.width()));
  output(stats, lse_uid, lse_of(at));
  stats->set_data_type(fe::DataType_t::FLOAT);
  return graph;
}

Graph backward_graph(const Key& key, int architecture) {
  const HeadLayout& at = key.at;
  Graph graph = empty_graph(key.type, architecture);
  const Packed in = packed(at);
  const Heads out = heads_of(at, at.heads, at.width());
  const Tensor stats = input(graph, lse_uid, lse_of(at));
  stats->set_data_type(fe::DataType_t::FLOAT);
  auto [d_q, d_k, d_v] = graph->sdpa_backward(
      input(graph, q_uid, in.query), input(graph, k_uid, in.shared), input(graph, v_uid, in.shared),
      input(graph, out_uid, out), input(graph, d_out_uid, out), stats,
      fg::SDPA_backward_attributes()
          .set_name("attention_backward")
          .set_attn_scale(scale_of(at))
          .set_diagonal_alignment(fe::DiagonalAlignment_t::TOP_LEFT)
          .set_diagonal_band_right_bound(0)
          .set_deterministic_algorithm(true));
  output(d_q, d_q_uid, in.query);
  output(d_k, d_k_uid, in.shared);
  output(d_v, d_v_uid, in.shared);
  return graph;
}

Graph graph_of(const Key& key, int architecture = 0) {
  return key.direction == Direction::forward ? forward_graph(key, architecture)
                                             : backward_graph(key, architecture);
}

// --- plans ------------------------------------------------------------------------------------

using Addresses = std::unordered_map<std::int64_t, void*>;

[[noreturn]] void fail(const std::string& call, const std::string& reason) {
  throw DeviceError("cuDNN: " + call + ": " + reason);
}
// Before anything is built, an answer other than a lost device says that the graph is not computed.
bool lost(fe::error_object error) {
  using enum fe::error_code_t;
  const fe::error_code_t code = error.get_code();
  return code == CUDA_API_FAILED || code == INVALID_CUDA_DEVICE || code == HANDLE_ERROR;
}

/// One queue's handle and plans. Used by one thread at a time.
class Plans {
 public:
  explicit Plans(cudaStream_t stream) {
    cudnnStatus_t status = cudnnCreate(&handle_);
    if (status != CUDNN_STATUS_SUCCESS) fail("cudnnCreate", cudnnGetErrorString(status));
    status = cudnnSetStream(handle_, stream);
    if (status != CUDNN_STATUS_SUCCESS) fail("cudnnSetStream", cudnnGetErrorString(status));
  }
  ~Plans() {
    plans_.clear();  // before the handle that they were made with
    (void)cudnnDestroy(handle_);
  }
  Plans(const Plans&) = delete;
  Plans& operator=(const Plans&) = delete;

  /// The plan of a call that has `workspace` bytes, or null if the library has none.
  fg::Graph* plan(const Key& key, Bytes workspace) {
    const auto known = plans_.find(key);
    if (known != plans_.end()) return known->second.get();
    return plans_.emplace(key, build(key, workspace)).first->second.get();
  }

  void run(fg::Graph& graph, Addresses addresses, std::byte* workspace) {
    auto error = graph.execute(handle_, addresses, workspace);
    if (error.is_bad()) fail("attention", error.get_message());
  }

 private:
  Graph build(const Key& key, Bytes workspace) {
    Graph graph = graph_of(key);
    auto error = graph->validate();
    if (error.is_good()) error = graph->build_operation_graph(handle_);
    if (error.is_good()) error = graph->create_execution_plans({fe::HeurMode_t::A});
    if (error.is_good()) {
      graph->deselect_workspace_greater_than(static_cast<std::int64_t>(workspace));
      error = graph->check_support();
    }
    if (error.is_bad() && lost(error)) fail("attention's graph", error.get_message());
    if (error.is_bad()) return nullptr;
    error = graph->build_plans();
    std::int64_t need = 0;
    if (error.is_good()) error = graph->get_workspace_size(need);
    if (error.is_bad()) fail("attention's plan", error.get_message());
    return static_cast<Bytes>(need) <= workspace ? graph : nullptr;
  }

  cudnnHandle_t handle_ = nullptr;
  std::map<Key, Graph> plans_;
};

Plans& plans_of(StreamRef stream) {
  const cudaStream_t on = stream_of(stream);  // first: a handle is of the thread's device
  std::shared_ptr<void>& kept = stream.queue().attention;
  if (kept == nullptr) kept = std::make_shared<Plans>(on);
  return *static_cast<Plans*>(kept.get());
}

// --- calls ------------------------------------------------------------------------------------

void expects_aligned(std::initializer_list<View> views) {
  for (const View& view : views) {
    expects(reinterpret_cast<std::uintptr_t>(view.data) % 16 == 0,
            "attention: got an address that is no multiple of 16, need one for 16-bit types");
  }
}

// Sequences [first, first + count): q, k and v are columns of the same rows.
void add_packed(Addresses& to, const HeadLayout& at, std::int64_t first, const View& qkv,
                std::array<Uid, 3> uids) {
  std::byte* row = qkv.rows(first * at.length, 0).data;
  const std::int64_t columns[] = {0, at.key_column(), at.value_column()};
  for (std::size_t i = 0; i < 3; ++i) {
    to[uids[i]] = row + static_cast<Bytes>(columns[i]) * size_of(qkv.type);
  }
}
void add_rows(Addresses& to, Uid uid, const View& view, std::int64_t first_row) {
  to[uid] = view.rows(first_row, 0).data;
}

}  // namespace

bool library_attention(const kernels::AttentionArgs& args, StreamRef stream) {
  if (!suits_library(args.shape, args.qkv.type) || args.out.type != args.qkv.type) return false;
  const Key key{head_layout(args.shape), args.qkv.type, Direction::forward};
  Plans& plans = plans_of(stream);
  fg::Graph* plan = plans.plan(key, workspace_size(room::attention(args.shape)));
  if (plan == nullptr) return false;
  expects_aligned({args.qkv, args.out, args.lse, args.scratch});
  Addresses at;
  add_packed(at, key.at, 0, args.qkv, {q_uid, k_uid, v_uid});
  add_rows(at, out_uid, args.out, 0);
  add_rows(at, lse_uid, args.lse, 0);
  plans.run(*plan, std::move(at), workspace_in(args.scratch));
  return true;
}

bool library_attention_backward(const kernels::AttentionBackwardArgs& args, StreamRef stream) {
  const DType type = args.qkv.type;
  if (!suits_library(args.shape, type) || args.out.type != type || args.d_out.type != type ||
      args.d_qkv.type != type) {
    return false;
  }
  const HeadLayout whole = head_layout(args.shape);
  const std::int64_t slice = room::attention_slice(args.shape);
  Plans& plans = plans_of(stream);
  const auto plan_of = [&](std::int64_t count) {
    Key key{whole, type, Direction::backward};
    key.at.sequences = count;
    return plans.plan(key, workspace_size(room::attention_backward_of(args.shape, slice)));
  };
  const std::int64_t rest = whole.sequences % slice;
  if (plan_of(slice) == nullptr || (rest > 0 && plan_of(rest) == nullptr)) return false;
  expects_aligned({args.qkv, args.out, args.lse, args.d_out, args.d_qkv, args.scratch});
  for (std::int64_t first = 0; first < whole.sequences; first += slice) {
    Addresses at;
    add_packed(at, whole, first, args.qkv, {q_uid, k_uid, v_uid});
    add_packed(at, whole, first, args.d_qkv, {d_q_uid, d_k_uid, d_v_uid});
    add_rows(at, out_uid, args.out, first * whole.length);
    add_rows(at, d_out_uid, args.d_out, first * whole.length);
    add_rows(at, lse_uid, args.lse, first * whole.heads);
    plans.run(*plan_of(std::min(slice, whole.sequences - first)), std::move(at),
              workspace_in(args.scratch));
  }
  return true;
}

std::string attention_library() {
  const std::size_t version = cudnnGetVersion();  // 91900
  return "cuDNN " + std::to_string(version / 10000) + "." + std::to_string(version / 100 % 100) +
         "." + std::to_string(version % 100) + " (frontend " +
         std::to_string(CUDNN_FRONTEND_MAJOR_VERSION) + "." +
         std::to_string(CUDNN_FRONTEND_MINOR_VERSION) + "." +
         std::to_string(CUDNN_FRONTEND_PATCH_VERSION) + ")";
}

std::string graph_problem(const AttentionShape& shape, DType type, Direction direction,
                          int architecture) {
  Graph graph = graph_of({head_layout(shape), type, direction}, architecture);
  auto error = graph->validate();
  if (error.is_good()) error = graph->build_operation_graph(nullptr);
  return error.is_good() ? std::string() : error.get_message();
}

}  // namespace sherd::cuda
