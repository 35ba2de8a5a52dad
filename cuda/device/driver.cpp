#include "cuda/device/driver.hpp"

#include <cuda_runtime_api.h>

#include <cstring>
#include <memory>
#include <string>

#include "cuda/device/architecture.hpp"
#include "cuda/device/built_for.hpp"
#include "cuda/device/check.hpp"
#include "cuda/device/recording.hpp"

namespace sherd::cuda {
namespace {

std::string dotted(int version) {  // 13020 is 13.2
  return std::to_string(version / 1000) + "." + std::to_string(version % 1000 / 10);
}
int driver_version() {
  int version = 0;
  (void)cudaDriverGetVersion(&version);
  return version;
}
std::string why_unusable(cudaError_t status) {
  if (status == cudaErrorNoDevice) {
    return "CUDA: the driver shows no device (does CUDA_VISIBLE_DEVICES name one?)";
  }
  if (status != cudaErrorInsufficientDriver) {
    return std::string("CUDA: ") + cudaGetErrorString(status) + " (" + cudaGetErrorName(status) +
           ")";
  }
  const int version = driver_version();
  if (version == 0) return "CUDA: no driver is installed on this machine";
  return "CUDA: the driver serves CUDA " + dotted(version) + ", this build needs " +
         dotted(CUDART_VERSION) + ": install a newer driver";
}

cudaDeviceProp properties_of(int index) {
  cudaDeviceProp found{};
  check(cudaGetDeviceProperties(&found, index), "cudaGetDeviceProperties");
  return found;
}
std::string architecture_of(const cudaDeviceProp& device) {
  return "sm_" + std::to_string(device.major) + std::to_string(device.minor);
}

/// Is this host memory that CUDA has not pinned?
bool pageable(const void* at) {
  cudaPointerAttributes found{};
  check(cudaPointerGetAttributes(&found, at), "cudaPointerGetAttributes");
  return found.type == cudaMemoryTypeUnregistered;
}

std::string wrong_architecture(int index) {
  return "cuda:" + std::to_string(index) + " is " + architecture_of(properties_of(index)) +
         ", this build has code for " + built_architectures() +
         ": build with CMAKE_CUDA_ARCHITECTURES for it";
}

/// Owns a queue until its fields are complete.
struct QueueDeleter {
  void operator()(device::Queue* queue) const noexcept {
    if (queue->stream != nullptr) (void)cudaStreamDestroy(queue->stream);
    std::default_delete<device::Queue>()(queue);
  }
};
using OwnedQueue = std::unique_ptr<device::Queue, QueueDeleter>;

class CudaDriver final : public device::Driver {
 public:
  explicit CudaDriver(int index) : index_(index) { use(); }

  device::DeviceInfo info() override {
    use();
    std::size_t free = 0, total = 0;
    check(cudaMemGetInfo(&free, &total), "cudaMemGetInfo");
    const cudaDeviceProp found = properties_of(index_);
    int runtime = 0;
    check(cudaRuntimeGetVersion(&runtime), "cudaRuntimeGetVersion");
    device::DeviceInfo info{.index = index_,
                            .name = found.name,
                            .version = "driver " + dotted(driver_version()) + ", runtime " +
                                       dotted(runtime) + ", " + architecture_of(found),
                            .memory = total,
                            .free = free,
                            .uuid = {}};
    static_assert(sizeof found.uuid == sizeof info.uuid);
    std::memcpy(info.uuid.data(), &found.uuid, sizeof found.uuid);
    return info;
  }

  device::Queue* make_queue() override { return owned_queue().release(); }
  void drop(device::Queue* queue) noexcept override {
    if (queue == nullptr || cudaSetDevice(index_) != cudaSuccess) return;
    (void)cudaStreamSynchronize(queue->stream);
    queue->attention.reset();  // libraries' handles before the stream that they work on
    queue->products.reset();
    QueueDeleter()(queue);
  }

  device::Mark* make_mark() override {
    use();
    auto mark = std::make_unique<device::Mark>();
    check(cudaEventCreateWithFlags(&mark->event, cudaEventDisableTiming),
          "cudaEventCreateWithFlags");
    return mark.release();
  }
  void drop(device::Mark* mark) noexcept override {
    const std::unique_ptr<device::Mark> owned(mark);
    if (owned != nullptr && cudaSetDevice(index_) == cudaSuccess) {
      (void)cudaEventDestroy(owned->event);
    }
  }
  void record(device::Mark& mark, device::Queue& queue) override {
    use();
    cuda::record(mark, queue);
  }
  void gate(device::Queue& queue, device::Mark& mark) override {
    use();
    cuda::gate(queue, mark);
  }
  bool reached(device::Mark& mark) override {
    use();
    const cudaError_t status = cudaEventQuery(mark.event);
    if (status == cudaErrorNotReady) return false;
    check(status, "cudaEventQuery");
    return true;
  }

  std::byte* allocate(device::Memory kind, Bytes size) override {
    use();
    return kind == device::Memory::device ? allocate_device(size) : allocate_pinned(size);
  }
  void release(device::Memory kind, std::byte* at) noexcept override {
    if (at == nullptr || cudaSetDevice(index_) != cudaSuccess) return;
    (void)(kind == device::Memory::device ? cudaFree(at) : cudaFreeHost(at));
  }
  void copy(device::Queue& queue, std::byte* to, const std::byte* from, Bytes size) override {
    use();
    check(cudaMemcpyAsync(to, from, size, cudaMemcpyDefault, queue.stream), "cudaMemcpyAsync");
    // CUDA says that it may then have happened; a caller relies on it.
    if (is_recording(queue) || !(pageable(to) || pageable(from))) return;
    check(cudaStreamSynchronize(queue.stream), "cudaStreamSynchronize");
  }

  device::PeerHandle name_for_peers(std::byte* allocation) override {
    use();
    cudaIpcMemHandle_t handle;
    check(cudaIpcGetMemHandle(&handle, allocation), "cudaIpcGetMemHandle");
    device::PeerHandle name{};
    static_assert(sizeof handle == sizeof name);
    std::memcpy(name.data(), &handle, sizeof handle);
    return name;
  }
  std::byte* open_peer(const device::PeerHandle& name) override {
    use();
    cudaIpcMemHandle_t handle;
    std::memcpy(&handle, name.data(), sizeof handle);
    void* at = nullptr;
    const cudaError_t status = cudaIpcOpenMemHandle(&at, handle, cudaIpcMemLazyEnablePeerAccess);
    if (status == cudaSuccess) return static_cast<std::byte*>(at);
    (void)cudaGetLastError();
    throw CommError(std::string("cannot open a peer's device memory: ") +
                    cudaGetErrorString(status) + " (cudaIpcOpenMemHandle)");
  }
  void close_peer(std::byte* at) noexcept override {
    if (at != nullptr && cudaSetDevice(index_) == cudaSuccess) (void)cudaIpcCloseMemHandle(at);
  }

  void begin_recording(device::Queue& queue) override {
    use();
    cuda::begin_recording(queue);
  }
  device::Graph* end_recording(device::Queue& queue) override {
    use();
    return cuda::end_recording(queue);
  }
  void launch(device::Graph& graph, device::Queue& queue) override {
    use();
    check(cudaGraphLaunch(graph.exec, queue.stream), "cudaGraphLaunch");
  }
  void drop(device::Graph* graph) noexcept override {
    const std::unique_ptr<device::Graph> owned(graph);
    if (owned != nullptr && cudaSetDevice(index_) == cudaSuccess) {
      (void)cudaGraphExecDestroy(owned->exec);
    }
  }

 private:
  /// The current device belongs to a thread, and any thread may call.
  void use() const { check(cudaSetDevice(index_), "cudaSetDevice"); }

  OwnedQueue owned_queue() {
    use();
    OwnedQueue queue(std::make_unique<device::Queue>().release());
    queue->device = index_;
    check(cudaDeviceGetAttribute(&queue->multiprocessors, cudaDevAttrMultiProcessorCount, index_),
          "cudaDeviceGetAttribute");
    check(cudaStreamCreateWithFlags(&queue->stream, cudaStreamNonBlocking),
          "cudaStreamCreateWithFlags");
    return queue;
  }

  std::byte* allocate_device(Bytes size) {
    void* at = nullptr;
    refuse_full(cudaMalloc(&at, size), size, "cudaMalloc");
    std::unique_ptr<void, cudaError_t (*)(void*)> owned(at, cudaFree);
    const OwnedQueue queue = owned_queue();
    check(cudaMemsetAsync(at, 0, size, queue->stream), "cudaMemsetAsync");
    check(cudaStreamSynchronize(queue->stream), "cudaStreamSynchronize");
    return static_cast<std::byte*>(owned.release());
  }
  std::byte* allocate_pinned(Bytes size) {
    void* at = nullptr;
    refuse_full(cudaHostAlloc(&at, size, cudaHostAllocPortable), size, "cudaHostAlloc");
    std::memset(at, 0, size);
    return static_cast<std::byte*>(at);
  }
  void refuse_full(cudaError_t status, Bytes size, const char* call) const {
    if (status != cudaErrorMemoryAllocation) return check(status, call);
    (void)cudaGetLastError();
    std::size_t free = 0, total = 0;
    check(cudaMemGetInfo(&free, &total), "cudaMemGetInfo");
    throw CapacityError("cuda:" + std::to_string(index_) + ": cannot allocate " +
                        std::to_string(size) + " bytes (" + call + "): " + std::to_string(free) +
                        " of the device's " + std::to_string(total) +
                        " are free; another process may hold the card");
  }

  int index_;
};

}  // namespace

int count_devices() {
  int count = 0;
  const cudaError_t status = cudaGetDeviceCount(&count);
  if (status != cudaSuccess) {
    (void)cudaGetLastError();
    throw DeviceError(why_unusable(status));
  }
  for (int index = 0; index < count; ++index) {
    const cudaDeviceProp device = properties_of(index);
    if (is_built_for(built_architectures(), device.major * 10 + device.minor)) return count;
  }
  if (count > 0) throw DeviceError(wrong_architecture(0));
  return 0;
}

std::string name_device(int index) { return properties_of(index).name; }

std::unique_ptr<device::Driver> open_device(int index) {
  auto driver = std::make_unique<CudaDriver>(index);
  const cudaError_t status = find_code();
  if (status == cudaErrorNoKernelImageForDevice || status == cudaErrorInvalidDeviceFunction) {
    throw DeviceError(wrong_architecture(index));
  }
  check(status, "cudaFuncGetAttributes");
  return driver;
}

}  // namespace sherd::cuda
