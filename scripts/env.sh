# Enters the environment of this checkout: `. scripts/env.sh`, in bash or zsh, from any folder.
# Virtual environment, workspace overlay, Fast DDS profile, Vulkan driver. Sourcing it twice does no harm.

if [ -n "${ZSH_VERSION:-}" ]; then
  eval '_fv_file=${(%):-%x}'
else
  _fv_file=${BASH_SOURCE[0]}
fi
_fv_root=$(cd "$(dirname "$_fv_file")/.." && pwd)

# Puts a folder first in a list variable unless it is in it.
_fv_prepend() {
  eval "_fv_list=\${$1:-}"
  case ":$_fv_list:" in
    *":$2:"*) ;;
    *) eval "export $1=\"\$2\${_fv_list:+:\$_fv_list}\"" ;;
  esac
}

# True where a GPU can render: an NVIDIA device with its Vulkan driver, or a DRM render node.
_fv_has_gpu() {
  [ -n "$(find /dev/dri -name 'renderD*' 2>/dev/null | head -n 1)" ] && return 0
  [ -e /dev/nvidiactl ] && [ -n "$(find /etc/vulkan/icd.d /usr/share/vulkan/icd.d -name 'nvidia*.json' 2>/dev/null | head -n 1)" ]
}

_fv_enter() {
  _fv_venv=$(cd "$_fv_root/.venv" 2>/dev/null && pwd -P)
  if [ -z "$_fv_venv" ] || [ ! -f "$_fv_venv/.complete" ]; then
    echo "scripts/env.sh: nothing is set up yet; run: make -C $_fv_root setup" >&2
    return 1
  fi
  export VIRTUAL_ENV="$_fv_venv" FINEVLA_ROOT="$_fv_root"
  _fv_prepend PATH "$_fv_venv/bin"
  _fv_prepend PATH "$_fv_root/scripts/bin"
  _fv_prepend PYTHONPATH "$_fv_root/build/lerobot"  # metadata by which LeRobot finds the plugin
  _fv_prepend PYTHONPATH "$_fv_root/offline/lerobot_policy_finevla/src"
  _fv_prepend PYTHONPATH "$_fv_root/offline/src"

  # ROS 2: what is sourced already, otherwise the wheels in the virtual environment.
  if [ -f "$_fv_venv/share/rclpy/package.xml" ]; then
    _fv_prepend AMENT_PREFIX_PATH "$_fv_venv"
  fi
  if [ -f "$_fv_root/install/local_setup.sh" ]; then
    # colcon's script reads variables that nobody has set, which a shell under `set -u` would refuse.
    case $- in *u*) _fv_strict=u; set +u ;; *) _fv_strict= ;; esac
    COLCON_CURRENT_PREFIX="$_fv_root/install" . "$_fv_root/install/local_setup.sh"
    unset COLCON_CURRENT_PREFIX
    [ -z "$_fv_strict" ] || set -u
  else
    echo "scripts/env.sh: the ROS 2 workspace is not built; run: make -C $_fv_root setup" >&2
  fi

  # Default Fast DDS splits large images and loses them; see launch/fastdds/.
  [ -n "${FASTDDS_DEFAULT_PROFILES_FILE:-}" ] || export FASTDDS_DEFAULT_PROFILES_FILE="$_fv_root/launch/fastdds/local.xml"
  [ -n "${ROS_AUTOMATIC_DISCOVERY_RANGE:-}" ] || export ROS_AUTOMATIC_DISCOVERY_RANGE=LOCALHOST

  # Without a GPU, render with Mesa's software driver; its file is named differently by release.
  if [ -z "${VK_DRIVER_FILES:-}${VK_ICD_FILENAMES:-}" ] && ! _fv_has_gpu; then
    _fv_icd=$(find /usr/share/vulkan/icd.d -name 'lvp_icd*.json' 2>/dev/null | head -n 1)
    [ -z "$_fv_icd" ] || export VK_DRIVER_FILES="$_fv_icd"
  fi

  # Nothing here fetches anything: models come from local folders.
  [ -n "${HF_HUB_OFFLINE:-}" ] || export HF_HUB_OFFLINE=1
}

_fv_enter
_fv_status=$?
unset -f _fv_enter _fv_prepend _fv_has_gpu
unset _fv_file _fv_root _fv_venv _fv_list _fv_icd _fv_strict
(exit $_fv_status)
